// How the portal looks: petrol for what can be done, copper for what waits for somebody, ink and paper for the rest.
import { Anchor, Badge, Button, createTheme, Modal, NumberInput, Select, Table, Textarea, TextInput, type CSSVariablesResolver, type MantineColorsTuple } from "@mantine/core";

const petrol: MantineColorsTuple = [
  "#e8f5f5",
  "#d2e7e8",
  "#a3cfd1",
  "#72b6b9",
  "#4aa1a5",
  "#2f9297",
  "#1a7f85",
  "#0b6a70",
  "#075960",
  "#02454b",
];

const copper: MantineColorsTuple = [
  "#fcf2e8",
  "#f4e2d0",
  "#e8c6a2",
  "#dda970",
  "#d39048",
  "#ca7f31",
  "#b56d22",
  "#985a19",
  "#7f4a13",
  "#66390b",
];

const ink: MantineColorsTuple = [
  "#d9e0df",
  "#b3bfbe",
  "#8f9e9d",
  "#62716f",
  "#3b4847",
  "#2b3636",
  "#1f2929",
  "#151c1d",
  "#0f1516",
  "#0a0f0f",
];

const paper: MantineColorsTuple = [
  "#f6f8f7",
  "#eef1f0",
  "#e1e6e5",
  "#d0d8d6",
  "#b4bfbd",
  "#8b9997",
  "#63716f",
  "#46524f",
  "#2c3634",
  "#182020",
];

export const theme = createTheme({
  respectReducedMotion: true,
  primaryColor: "petrol",
  primaryShade: { light: 7, dark: 6 },
  autoContrast: true,
  luminanceThreshold: 0.32,
  colors: { petrol, copper, gray: paper, dark: ink },
  black: "#152022",
  defaultRadius: "sm",
  fontFamily: "'IBM Plex Sans Variable', system-ui, sans-serif",
  fontFamilyMonospace: "'IBM Plex Mono', ui-monospace, 'DejaVu Sans Mono', monospace",
  headings: { fontFamily: "'IBM Plex Sans Variable', system-ui, sans-serif", fontWeight: "600" },
  fontSizes: { xs: "0.78rem", sm: "0.875rem", md: "0.95rem", lg: "1.1rem", xl: "1.3rem" },
  components: {
    // Within a text a colour alone does not tell a link.
    Anchor: Anchor.extend({ defaultProps: { underline: "always" } }),
    Badge: Badge.extend({ defaultProps: { variant: "light", radius: "sm", tt: "none", fw: 550 } }),
    Button: Button.extend({ defaultProps: { size: "sm" } }),
    Modal: Modal.extend({ defaultProps: { centered: true, overlayProps: { backgroundOpacity: 0.45, blur: 1 } } }),
    Table: Table.extend({ defaultProps: { verticalSpacing: 8, horizontalSpacing: "md" } }),
    TextInput: TextInput.extend({ defaultProps: { size: "sm" } }),
    NumberInput: NumberInput.extend({ defaultProps: { size: "sm", hideControls: true } }),
    Select: Select.extend({ defaultProps: { size: "sm", allowDeselect: false } }),
    Textarea: Textarea.extend({ defaultProps: { size: "sm", autosize: true, minRows: 2 } }),
  },
});

/** Tinted backgrounds of badges and notes: pale on paper, a veil of the colour on ink. */
export const variables: CSSVariablesResolver = () => ({
  variables: {},
  light: {
    "--mantine-color-petrol-light": "#e0eeee",
    "--mantine-color-copper-light": "#f7e9da",
  },
  dark: {
    "--mantine-color-anchor": petrol[3],
    ...veil("petrol", petrol[5], petrol[2]),
    ...veil("copper", copper[5], copper[2]),
    ...veil("gray", ink[2], ink[1]),
    ...veil("red", "var(--mantine-color-red-6)", "var(--mantine-color-red-2)"),
  },
});

function veil(name: string, colour: string, text: string) {
  return {
    [`--mantine-color-${name}-light`]: `color-mix(in srgb, ${colour} 20%, transparent)`,
    [`--mantine-color-${name}-light-color`]: text,
  };
}
