"""A ctypes binding to include/weft/weft.h for tests and tools. Not a package for users.

The library is build/native/libweft.so, or the file that the environment variable WEFT_LIBRARY
names.

    with Runtime() as runtime, Model(runtime, data) as model, Session(model) as session:
        outputs = session.run({"x": array})      # {name: array}, arrays are copies
"""
import ctypes as c
import os
import pathlib

import ml_dtypes
import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
RANK_MAX = 8

STATUS = {
    0: "ok", 1: "pending", -1: "invalid argument", -2: "invalid model", -3: "unsupported",
    -4: "out of memory", -5: "limit exceeded", -6: "invalid data", -7: "cancelled",
    -8: "timed out", -9: "io error", -10: "device lost", -11: "internal",
}
OK, PENDING, UNSUPPORTED, IO_ERROR = 0, 1, -3, -9
ACTIVATIONS = {"auto": 0, "f32": 1, "int8": 2}

# numpy type of each weft_dtype; the numbers are those of ONNX.
DTYPES = {
    1: np.float32, 2: np.uint8, 3: np.int8, 4: np.uint16, 5: np.int16, 6: np.int32, 7: np.int64,
    9: np.bool_, 10: np.float16, 11: np.float64, 12: np.uint32, 13: np.uint64,
    16: ml_dtypes.bfloat16,
}
DTYPE_NUMBER = {np.dtype(t): n for n, t in DTYPES.items()}
DTYPE_STRING = 8


class WeftError(Exception):
    """A weft_status below zero with its message."""

    def __init__(self, status, message):
        super().__init__(f"{STATUS.get(status, status)}: {message}")
        self.status = status
        self.message = message


class _Error(c.Structure):
    _fields_ = [("status", c.c_int), ("message", c.c_char * 500)]


_ReadFn = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_uint64, c.c_size_t, c.c_void_p)


class _Source(c.Structure):
    _fields_ = [("size", c.c_uint64), ("bytes", c.c_void_p), ("read", _ReadFn),
                ("user", c.c_void_p)]


_ResolveFn = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_char_p, c.POINTER(_Source))
_WriteFn = c.CFUNCTYPE(None, c.c_void_p, c.POINTER(c.c_char), c.c_size_t)


class _RuntimeOptions(c.Structure):
    _fields_ = [("hooks", c.c_void_p * 11), ("thread_count", c.c_uint32)]


class _ModelOptions(c.Structure):
    _fields_ = [("resolve", _ResolveFn), ("resolve_user", c.c_void_p), ("progress", c.c_void_p),
                ("progress_user", c.c_void_p), ("memory_limit", c.c_uint64)]


class _ValueInfo(c.Structure):
    _fields_ = [("name", c.c_char_p), ("dtype", c.c_int), ("rank", c.c_int32),
                ("dims", c.c_int64 * RANK_MAX), ("dim_names", c.c_char_p * RANK_MAX)]


class _SessionOptions(c.Structure):
    _fields_ = [("gpu", c.c_void_p), ("disabled_passes", c.c_char_p), ("consume_model", c.c_bool),
                ("kernels", c.c_char_p), ("activations", c.c_int), ("thread_count", c.c_uint32),
                ("memory_limit", c.c_uint64), ("profile", c.c_bool), ("progress", c.c_void_p),
                ("progress_user", c.c_void_p), ("tune", c.c_int)]


class _Binding(c.Structure):
    _fields_ = [("name", c.c_char_p), ("tensor", c.c_void_p)]


class _GpuOptions(c.Structure):
    _fields_ = [("adapter", c.c_char_p)]


class _RunOptions(c.Structure):
    _fields_ = [("time_limit_ns", c.c_uint64)]


class _MemoryUse(c.Structure):
    _fields_ = [("bytes", c.c_uint64), ("bytes_peak", c.c_uint64), ("calls", c.c_uint64)]


_P = c.c_void_p
_PP = c.POINTER(c.c_void_p)
_E = c.POINTER(_Error)
# name: (result, arguments) of the functions used here.
_FUNCTIONS = {
    "runtime_options_default": (_RuntimeOptions, []),
    "runtime_open": (c.c_int, [c.POINTER(_RuntimeOptions), _PP, _E]),
    "runtime_close": (None, [_PP]),
    "runtime_memory": (_MemoryUse, [_P]),
    "gpu_open": (c.c_int, [_P, c.POINTER(_GpuOptions), _PP, _E]),
    "gpu_close": (None, [_PP]),
    "model_options_default": (_ModelOptions, []),
    "model_open": (c.c_int, [_P, c.POINTER(_Source), c.POINTER(_ModelOptions), _PP, _E]),
    "model_close": (None, [_PP]),
    "model_input_count": (c.c_size_t, [_P]),
    "model_output_count": (c.c_size_t, [_P]),
    "model_input": (c.c_int, [_P, c.c_size_t, c.POINTER(_ValueInfo)]),
    "model_output": (c.c_int, [_P, c.c_size_t, c.POINTER(_ValueInfo)]),
    "loader_open": (c.c_int, [_P, c.c_uint64, c.POINTER(_ModelOptions), _PP, _E]),
    "loader_feed": (c.c_int, [_P, c.c_char_p, c.c_size_t, _E]),
    "loader_finish": (c.c_int, [_PP, _PP, _E]),
    "loader_close": (None, [_PP]),
    "tensor_wrap": (c.c_int, [_P, c.c_int, c.POINTER(c.c_int64), c.c_size_t, _P, c.c_size_t, _PP,
                              _E]),
    "tensor_open": (c.c_int, [_P, c.c_int, c.POINTER(c.c_int64), c.c_size_t, _PP, _E]),
    "tensor_close": (None, [_PP]),
    "tensor_dtype": (c.c_int, [_P]),
    "tensor_rank": (c.c_size_t, [_P]),
    "tensor_dims": (c.POINTER(c.c_int64), [_P]),
    "tensor_data": (_P, [_P]),
    "tensor_bytes": (c.c_size_t, [_P]),
    "tensor_fetch": (c.c_int, [_P, _E]),
    "session_options_default": (_SessionOptions, []),
    "session_open": (c.c_int, [_P, c.POINTER(_SessionOptions), _PP, _E]),
    "session_close": (None, [_PP]),
    "session_run": (c.c_int, [_P, c.POINTER(_RunOptions), c.POINTER(_Binding), c.c_size_t,
                              c.POINTER(_Binding), c.c_size_t, _E]),
    "session_resume": (c.c_int, [_P, _E]),
    "session_poll": (c.c_int, [_P, c.c_bool, _E]),
    "session_poll": (c.c_int, [_P, c.c_bool, _E]),
    "session_dump": (c.c_int, [_P, c.c_int, _WriteFn, _P, _E]),
    "pass_name": (c.c_char_p, [c.c_size_t]),
}


class _Library:
    """The shared library, opened at first use."""

    def __getattr__(self, name):
        path = os.environ.get("WEFT_LIBRARY", ROOT / "build/native/libweft.so")
        library = c.CDLL(str(path))
        for function, (result, arguments) in _FUNCTIONS.items():
            entry = getattr(library, "weft_" + function)
            entry.restype, entry.argtypes = result, arguments
            setattr(self, function, entry)
        return object.__getattribute__(self, name)


_lib = _Library()


def _check(function, *arguments):
    """Calls a function whose last parameter is the weft_error; answers its status."""
    error = _Error()
    status = function(*arguments, c.byref(error))
    if status < 0:
        raise WeftError(status, error.message.decode("utf-8", "replace"))
    return status


def pass_names():
    """The optional rewrites."""
    names, index = [], 0
    while (name := _lib.pass_name(index)) is not None:
        names.append(name.decode())
        index += 1
    return names


class _Handle:
    """An object of the library, closed by close() or at the end of a with block."""

    def __init__(self, close):
        self.pointer = c.c_void_p()
        self._close = close

    def close(self):
        self._close(c.byref(self.pointer))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Runtime(_Handle):
    def __init__(self, threads=1):
        super().__init__(_lib.runtime_close)
        options = _lib.runtime_options_default()
        options.thread_count = threads
        _check(_lib.runtime_open, c.byref(options), c.byref(self.pointer))

    def memory(self):
        use = _lib.runtime_memory(self.pointer)
        return {"bytes": use.bytes, "bytes_peak": use.bytes_peak, "calls": use.calls}


class Gpu(_Handle):
    """`adapter`: a part of its name; "": the fastest."""

    def __init__(self, runtime, adapter=""):
        super().__init__(_lib.gpu_close)
        options = _GpuOptions(adapter.encode() or None)
        _check(_lib.gpu_open, runtime.pointer, c.byref(options), c.byref(self.pointer))


class Model(_Handle):
    """`data`: the bytes of the file. `external`: {location: bytes}. `how` the bytes are handed
    over: "bytes" (in place), "odd" (in place, at an odd address), "read" (by a callback) or "feed"
    (in pieces of 1,000 bytes)."""

    def __init__(self, runtime, data, external=None, how="bytes"):
        super().__init__(_lib.model_close)
        self.runtime = runtime
        self._keep = []
        options = _lib.model_options_default()
        options.resolve = self._resolver(external or {}, how)
        if how == "feed":
            self._feed(data, options)
        else:
            source = _Source()
            self._fill(source, data, how)
            _check(_lib.model_open, runtime.pointer, c.byref(source), c.byref(options),
                   c.byref(self.pointer))

    def _hold(self, thing):
        self._keep.append(thing)
        return thing

    def _fill(self, source, data, how):
        buffer = self._hold(np.frombuffer((b" " if how == "odd" else b"") + data, np.uint8))
        address = buffer.ctypes.data + len(buffer) - len(data)

        def read(_, offset, length, destination):
            c.memmove(destination, address + offset, length)
            return OK

        source.size = len(data)
        if how in ("bytes", "odd"):
            source.bytes = address
        else:
            source.read = self._hold(_ReadFn(read))

    def _resolver(self, external, how):
        def resolve(_, location, source):
            if location.decode() not in external:
                return IO_ERROR
            self._fill(source.contents, external[location.decode()], how)
            return OK

        return self._hold(_ResolveFn(resolve))

    def _feed(self, data, options):
        loader = c.c_void_p()
        _check(_lib.loader_open, self.runtime.pointer, len(data), c.byref(options), c.byref(loader))
        try:
            for at in range(0, len(data), 1000):
                piece = data[at:at + 1000]
                _check(_lib.loader_feed, loader, piece, len(piece))
            _check(_lib.loader_finish, c.byref(loader), c.byref(self.pointer))
        finally:
            _lib.loader_close(c.byref(loader))

    def _values(self, count, get):
        values = []
        for index in range(count(self.pointer)):
            info = _ValueInfo()
            status = get(self.pointer, index, c.byref(info))
            if status < 0:
                raise WeftError(status, f"value {index}")
            names = [info.dim_names[i] for i in range(max(info.rank, 0))]
            dims = [name.decode() if name else info.dims[i] for i, name in enumerate(names)]
            values.append((info.name.decode(), info.dtype, dims if info.rank >= 0 else None))
        return values

    def inputs(self):
        """[(name, weft_dtype, dims)]; a dim is a number, -1 or a name; dims None: unknown rank."""
        return self._values(_lib.model_input_count, _lib.model_input)

    def outputs(self):
        return self._values(_lib.model_output_count, _lib.model_output)


class Session(_Handle):
    def __init__(self, model, disabled_passes=None, kernels=None, activations="auto", gpu=None):
        super().__init__(_lib.session_close)
        self.model = model
        options = _lib.session_options_default()
        options.disabled_passes = disabled_passes.encode() if disabled_passes else None
        options.kernels = kernels.encode() if kernels else None
        options.activations = ACTIVATIONS[activations]
        options.gpu = gpu.pointer if gpu else None
        _check(_lib.session_open, model.pointer, c.byref(options), c.byref(self.pointer))
        self.output_names = [name for name, _, _ in model.outputs()]

    def run(self, inputs, keep=()):
        """{name: array} -> {name: array} for all outputs. Those named in `keep` come as the
        session's own tensors, which the next run may take as inputs."""
        tensors = {}
        try:
            for name, array in inputs.items():
                if not isinstance(array, c.c_void_p):
                    tensors[name] = self._wrap(np.asarray(array, order="C"))
            bound = (_Binding * max(len(inputs), 1))(
                *[(name.encode(), tensors[name][0] if name in tensors else tensor)
                  for name, tensor in inputs.items()])
            wanted = (_Binding * max(len(self.output_names), 1))(
                *[(name.encode(), None) for name in self.output_names])
            status = _check(_lib.session_run, self.pointer, None, bound, len(inputs), wanted,
                            len(self.output_names))
            self._finish(status, _lib.session_resume, self.pointer)
            return {name: c.c_void_p(binding.tensor) if name in keep else
                    self._fetch(binding.tensor) for name, binding in zip(self.output_names, wanted)}
        finally:
            for tensor, _ in tensors.values():
                _lib.tensor_close(c.byref(tensor))

    def _finish(self, status, function, *arguments):
        """Calls the function until what is pending is done."""
        while status == PENDING:
            _check(_lib.session_poll, self.pointer, True)
            status = _check(function, *arguments)

    def _fetch(self, tensor):
        self._finish(_check(_lib.tensor_fetch, tensor), _lib.tensor_fetch, tensor)
        return _to_array(tensor)

    def _wrap(self, array):
        """(tensor over the array's memory, the array to keep alive)."""
        tensor = c.c_void_p()
        dims = (c.c_int64 * max(array.ndim, 1))(*array.shape)
        runtime = self.model.runtime.pointer
        if array.dtype not in DTYPE_NUMBER:  # text: let the library answer for it
            _check(_lib.tensor_open, runtime, DTYPE_STRING, dims, array.ndim, c.byref(tensor))
            raise TypeError(f"this binding cannot fill a tensor of {array.dtype}")
        _check(_lib.tensor_wrap, runtime, DTYPE_NUMBER[array.dtype], dims, array.ndim,
               array.ctypes.data, array.nbytes, c.byref(tensor))
        return tensor, array

    def dump(self, what):
        """The text of the "graph" or of the "plan"."""
        pieces = []
        write = _WriteFn(lambda _, text, length: pieces.append(c.string_at(text, length)))
        _check(_lib.session_dump, self.pointer, {"graph": 0, "plan": 1}[what], write, None)
        return b"".join(pieces).decode()


def _to_array(tensor):
    dtype = np.dtype(DTYPES[_lib.tensor_dtype(tensor)])
    dims = _lib.tensor_dims(tensor)
    shape = [dims[i] for i in range(_lib.tensor_rank(tensor))]
    bytes_ = _lib.tensor_bytes(tensor)
    data = c.string_at(_lib.tensor_data(tensor), bytes_) if bytes_ else b""
    return np.frombuffer(data, dtype).reshape(shape).copy()
