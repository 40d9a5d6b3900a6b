import { describe, expect, it } from "vitest";

import { causeOf } from "./cause";

describe("causeOf", () => {
  it("names what is known", () => {
    expect(causeOf({ sip_cause: 486, q850_cause: 17 })).toBe("SIP 486, Q.850 17");
    expect(causeOf({ sip_cause: null, q850_cause: 16 })).toBe("Q.850 16");
    expect(causeOf({ sip_cause: null, q850_cause: null })).toBeNull();
  });
});
