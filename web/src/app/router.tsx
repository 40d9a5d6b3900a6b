// A folder of `routes` is a URL: `routes/calls/[call]/page.tsx` is `/calls/:call`.
//
// A page exports its component as default and, where it is not for everyone who is signed in, its `audience`.
import type { ComponentType } from "react";
import { createBrowserRouter, Navigate, type RouteObject } from "react-router";

import { Frame } from "./Frame";
import { PageFailed } from "./PageFailed";
import { pathOf, type Audience } from "./paths";

type PageModule = { default: ComponentType; audience?: Audience };

const pages = import.meta.glob<PageModule>("../routes/**/page.tsx");

const routes: RouteObject[] = Object.entries(pages).map(([file, load]) => ({
  path: pathOf(file),
  errorElement: <PageFailed alone />,
  lazy: async () => {
    const page = await load();
    const Page = page.default;
    return {
      element: (
        <Frame audience={page.audience ?? "signed_in"}>
          <Page />
        </Frame>
      ),
    };
  },
}));

export const router = createBrowserRouter([
  { path: "/", element: <Navigate to="/overview" replace /> },
  ...routes,
  { path: "*", element: <PageFailed missing alone /> },
]);
