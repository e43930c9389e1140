// null_gpu.mjs - WebGPU that does nothing and answers at once: what is left of a run's time is the
// host's own, JavaScript and wasm. It has what web/src/gpu*.ts call, and counts.

const settled = Promise.resolve(null);

export class NullGpu {
  /** What was called: buffers, groups, writes, submits, dispatches, maps. */
  counts = { buffers: 0, groups: 0, writes: 0, written: 0, submits: 0, dispatches: 0, maps: 0 };

  async requestAdapter() {
    return new NullAdapter(this.counts);
  }
}

class NullAdapter {
  features = new Set();
  info = { vendor: "null", architecture: "", device: "", description: "no GPU at all" };
  /** Those that every WebGPU has. */
  limits = {
    maxBufferSize: 2 ** 28,
    maxStorageBufferBindingSize: 2 ** 27,
    maxStorageBuffersPerShaderStage: 8,
    maxComputeWorkgroupStorageSize: 16384,
    maxComputeInvocationsPerWorkgroup: 256,
    maxComputeWorkgroupSizeX: 256,
    maxComputeWorkgroupSizeY: 256,
    maxComputeWorkgroupSizeZ: 64,
    maxComputeWorkgroupsPerDimension: 65535,
    minUniformBufferOffsetAlignment: 256,
  };

  constructor(counts) {
    this.counts = counts;
  }
  async requestDevice() {
    return new NullDevice(this);
  }
}

class NullDevice {
  lost = new Promise(() => {});

  constructor({ counts, features, info, limits }) {
    Object.assign(this, { counts, features, limits, adapterInfo: info });
    const pass = new NullPass(counts);
    this.encoder = new NullEncoder(pass);
    this.queue = new NullQueue(counts);
  }
  pushErrorScope() {}
  popErrorScope() {
    return settled;
  }
  createBuffer({ size, usage }) {
    this.counts.buffers++;
    return new NullBuffer(this.counts, size, usage);
  }
  createShaderModule() {
    return {};
  }
  createBindGroupLayout() {
    return {};
  }
  createPipelineLayout() {
    return {};
  }
  async createComputePipelineAsync() {
    return {};
  }
  createBindGroup() {
    this.counts.groups++;
    return {};
  }
  createCommandEncoder() {
    return this.encoder;
  }
  destroy() {}
}

class NullBuffer {
  mapState = "unmapped";
  #ranges = new Map();

  constructor(counts, size, usage) {
    Object.assign(this, { counts, size, usage });
  }
  mapAsync() {
    this.counts.maps++;
    this.mapState = "mapped";
    return settled;
  }
  /** The same one each time. */
  getMappedRange(_, length) {
    if (!this.#ranges.has(length)) this.#ranges.set(length, new ArrayBuffer(length));
    return this.#ranges.get(length);
  }
  unmap() {
    this.mapState = "unmapped";
  }
  destroy() {}
}

class NullEncoder {
  constructor(pass) {
    this.pass = pass;
  }
  beginComputePass() {
    return this.pass;
  }
  copyBufferToBuffer() {}
  finish() {
    return this;
  }
}

class NullPass {
  constructor(counts) {
    this.counts = counts;
  }
  setPipeline() {}
  setBindGroup() {}
  dispatchWorkgroups() {
    this.counts.dispatches++;
  }
  end() {}
}

class NullQueue {
  constructor(counts) {
    this.counts = counts;
  }
  writeBuffer(_, __, data, from = 0, length = data.length - from) {
    this.counts.writes++;
    this.counts.written += length * data.BYTES_PER_ELEMENT;
  }
  submit() {
    this.counts.submits++;
  }
}
