// thread.ts - the script of a thread, a file of its own (weft-thread.js) that imports nothing: an
// instance of the core's module on the core's memory, with its own stack, which then works in C
// until the worker is ended. threads.ts is the other side.

/** What a thread gets in its first message; it answers when it has begun. Pointers are bigint on
 * tier C. */
export interface ThreadStart {
  module: WebAssembly.Module;
  memory: WebAssembly.Memory;
  /** The core's context (src/wasm/threads.c). */
  context: number | bigint;
  /** Where the stack ends, from which it grows down. */
  stack: number | bigint;
  /** The core's performance.timeOrigin: all its threads show the same time. */
  timeOrigin: number;
}

interface Port {
  postMessage(message: unknown): void;
}
interface NodePort extends Port {
  once(event: "message", listener: (message: ThreadStart) => void): void;
}

function work(start: ThreadStart, port: Port): void {
  const { module, memory, context, stack, timeOrigin } = start;
  // Of the imports, a thread's work calls the clock alone.
  const weft: Record<string, () => number> = Object.fromEntries(
    WebAssembly.Module.imports(module).map(({ name }) => [name, () => 0]),
  );
  weft.now_ms = () => performance.now() + (performance.timeOrigin - timeOrigin);
  const imports = { env: { memory }, weft, weft_gpu: weft };
  const { exports } = new WebAssembly.Instance(module, imports);
  const call = exports as Record<string, (context: number | bigint) => void>;
  (exports.__stack_pointer as WebAssembly.Global).value = stack;
  port.postMessage("begun");
  try {
    call.web_thread_work!(context);
  } catch (error) {
    call.web_thread_break!(context);
    throw error;
  }
}

const { process } = globalThis as {
  process?: { getBuiltinModule?: (name: string) => { parentPort: NodePort | null } };
};
const parentPort = process?.getBuiltinModule?.("node:worker_threads").parentPort;
if (parentPort) parentPort.once("message", (start) => work(start, parentPort));
else onmessage = ({ data }) => work(data as ThreadStart, globalThis as unknown as Port);
