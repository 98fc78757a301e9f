/** A thread for the tests of the pool: does what it is told, or does not. */

import { serve } from "../../src/worker/serve.ts";

serve((setup: { readonly greeting: string }) => {
  if (setup.greeting === "") throw new Error("no greeting");
  return (request: string): string => {
    if (request === "throw") throw new Error("told to");
    if (request === "crash") {
      setTimeout(() => {
        throw new Error("crashed");
      }, 0);
    }
    while (request === "spin" || request === "crash") {
      if (request === "crash") return "crashing";
    }
    return `${setup.greeting} ${request}`;
  };
});
