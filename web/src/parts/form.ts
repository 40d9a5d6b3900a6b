// What every form does with a refusal: each field shows its own error, the rest stands above the buttons.
import type { UseFormReturnType } from "@mantine/form";

import { fieldErrors, problemOf } from "../api/problem";

/** Puts the API's field errors on the form's fields. */
export function showFieldErrors<Values extends Record<string, unknown>>(form: UseFormReturnType<Values>, thrown: unknown) {
  form.setErrors(fieldErrors(problemOf(thrown)));
}
