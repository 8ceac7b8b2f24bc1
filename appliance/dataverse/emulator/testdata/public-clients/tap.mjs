// A little TAP: test prints a line, watch notes which functions are called, finish
// fails when one that should was not. The process exits 1 after a failure.
let n = 0, failed = 0;

export function suite(client) {
  const called = new Set();
  const test = async (name, fn) => {
    n++;
    try {
      await fn();
      console.log(`ok ${n} - ${client}: ${name}`);
    } catch (e) {
      failed++;
      process.exitCode = 1;
      console.log(`not ok ${n} - ${client}: ${name}`);
      console.log(String(e.stack ?? JSON.stringify(e)).replace(/^/gm, "# "));
    }
  };
  const watch = (api) => new Proxy({}, { get: (_, name) => (called.add(name), api[name]) });
  const finish = (all) => test("every function was called", () => {
    const missing = all.filter((name) => !called.has(name));
    if (missing.length > 0) throw new Error(`not called: ${missing.join(", ")}`);
  });
  return { test, watch, finish };
}

process.on("exit", () => console.log(`${n - failed} passed, ${failed} failed`));
