// Everything that a page may count on: colours, requests, messages, the router.
import { localStorageColorSchemeManager, MantineProvider } from "@mantine/core";
import { Notifications } from "@mantine/notifications";
import { QueryClientProvider } from "@tanstack/react-query";
import { RouterProvider } from "react-router";

import { queries } from "./queries";
import { router } from "./router";
import { theme, variables } from "./theme";

// The same key as in public/color-scheme.js.
const colorScheme = localStorageColorSchemeManager({ key: "tandem-color-scheme" });

export function App() {
  return (
    <MantineProvider theme={theme} cssVariablesResolver={variables} defaultColorScheme="auto" colorSchemeManager={colorScheme}>
      <QueryClientProvider client={queries}>
        <Notifications position="bottom-right" autoClose={6000} />
        <RouterProvider router={router} />
      </QueryClientProvider>
    </MantineProvider>
  );
}
