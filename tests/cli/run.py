#!/usr/bin/env python3
"""Drives the program weft as users do, on small models.

    tests/cli/run.py [PROGRAM] [-k PATTERN]      (default: build/native/weft)

Each function test_* is one test. The sentences on stderr and the exit codes are compared as a
whole. Ends with `N passed, N failed`.
"""
import argparse
import json
import os
import pathlib
import pty
import re
import signal
import subprocess
import sys
import tempfile
import traceback
import zipfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(HERE), str(ROOT / "tools")]

import numpy as np  # noqa: E402
import onnxruntime  # noqa: E402

import fixtures  # noqa: E402
from fixtures import FAR, MAX_LENGTH, TEXTS, TYPES, make_tokenizer, types_feed  # noqa: E402

SECONDS_MAX = 60
program = None  # the path; tests run in a folder with the fixtures


# ---- the program and what is said of it --------------------------------------------------------

def weft(*arguments, code=0, stderr=None):
    """Runs it; answers what is on stdout. `stderr`: all that must be there (None: anything)."""
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=SECONDS_MAX)
    assert done.returncode == code, f"exit code {done.returncode}, not {code}: {done.stderr}"
    assert stderr is None or done.stderr == stderr, f"stderr is {done.stderr!r}, not {stderr!r}"
    return done.stdout


def refuses(message, *arguments, code=1):
    """The program fails with exactly this sentence, and says nothing on stdout."""
    hint = f"weft: see 'weft {arguments[0]} --help'\n" if code == 2 else ""
    stdout = weft(*arguments, code=code, stderr=f"weft: {message}\n{hint}")
    assert stdout == "", f"stdout is {stdout!r}"


def weft_json(*arguments, **keywords):
    def no_constant(name):
        raise AssertionError(f"{name} is not JSON")
    return json.loads(weft(*arguments, "--json", **keywords), parse_constant=no_constant)


def reference(model, feed):
    """{name: array} by onnxruntime."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model, options)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feed)))


def same(actual, expected, tolerance=0.0):
    assert actual.dtype == expected.dtype, f"{actual.dtype}, not {expected.dtype}"
    assert actual.shape == expected.shape, f"{actual.shape}, not {expected.shape}"
    if tolerance:
        np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance)
    else:
        np.testing.assert_array_equal(actual, expected)


# ---- run ---------------------------------------------------------------------------------------

def test_npz_in_and_out():
    for source in ["types.npz", "compressed.npz", "empty.npz"]:
        weft("run", "types.onnx", "--inputs", source, "--outputs", "out.npz", stderr="")
        expected = reference("types.onnx", dict(np.load(source)))
        with np.load("out.npz") as actual:
            assert sorted(actual.files) == sorted(expected)
            for name, array in expected.items():
                same(actual[name], array)


def test_npy_in_and_out():
    options, feed = [], types_feed(4, seed=7)
    for name, array in feed.items():
        np.save(f"in_{name}.npy", array)
        options += ["--input", f"{name}=in_{name}.npy", "--output", f"{name}_t=out_{name}.npy"]
    weft("run", "types.onnx", *options, stderr="")
    for name, array in feed.items():
        same(np.load(f"out_{name}.npy"), array.T)
    assert not list(pathlib.Path().glob("*.part"))


def test_npy_before_npz():
    np.save("one.npy", np.full((5, 3), 9, np.float32))
    weft("run", "types.onnx", "--inputs", "types.npz", "--input", "f32=one.npy",
         "--outputs", "out.npz")
    with np.load("out.npz") as out:
        same(out["f32_t"], np.full((3, 5), 9, np.float32))
        same(out["i64_t"], types_feed(5)["i64"].T)


def test_npy_versions():
    for version in [(1, 0), (2, 0), (3, 0)]:
        with open("v.npy", "wb") as file:
            np.lib.format.write_array(file, types_feed(2)["f32"], version=version)
        weft("run", "types.onnx", "--input", "f32=v.npy", "--dim", "n=2", "--output",
             "f32_t=out.npy")
        same(np.load("out.npy"), types_feed(2)["f32"].T)


def random_arrays(*options):
    weft("run", "types.onnx", *options, "--outputs", "random.npz")
    with np.load("random.npz") as arrays:
        return dict(arrays)


def test_random_inputs():
    arrays = random_arrays("--dim", "n=50")
    for name in TYPES:
        values = arrays[name + "_t"].astype(np.float64)
        assert values.shape == (3, 50)
        if name in ("f32", "f64"):
            assert -1 <= values.min() < -0.8 and 0.8 < values.max() < 1
        else:
            assert set(np.unique(values)) == {0, 1}, name
    again, other = random_arrays("--dim", "n=50"), random_arrays("--dim", "n=50", "--seed", "2")
    same(again["f32_t"], arrays["f32_t"])
    assert (other["f32_t"] != arrays["f32_t"]).any()
    by_shape = [option for name in TYPES for option in ("--shape", f"{name}=2,3")]
    assert random_arrays(*by_shape)["i64_t"].shape == (3, 2)


def test_scalar_and_odd_names():
    np.save("a.npy", np.ones((4, 2), np.float32))
    np.save("s.npy", np.float32(3))
    name = 'o"\x1b[31m\\'
    shown = weft_json("run", "names.onnx", "--input", "a=b=a.npy", "--input", "s=s.npy", "--output",
                      name + "=o.npy")
    assert [output["name"] for output in shown["outputs"]] == [name, "bf16"]
    assert [output["dims"] for output in shown["outputs"]] == [[4, 2], []]
    same(np.load("o.npy"), np.full((4, 2), 3, np.float32))
    text = weft("run", "names.onnx", "--shape", "a=b=4,2", "--shape", "s=")
    assert text.startswith('o"?[31m\\: f32[4,2]\nbf16: bf16[]\n'), text


def test_options_of_sessions():
    expected = reference("matmul.onnx", {"x": np.load("x.npy")})["y"]
    for options in [["--disable", "all"], ["--disable", "fuse_maps,pack_weights"],
                    ["--kernels", "reference"], ["--kernels=portable"], ["--threads", "2"],
                    ["--memory-limit", "64"], ["--time-limit", "60000"], ["--quiet"]]:
        weft("run", "matmul.onnx", "--input", "x=x.npy", "--output", "y=y.npy", *options)
        same(np.load("y.npy"), expected, 1e-3)


def test_external_data():
    weft("run", "external.onnx", "--input", "x=x.npy", "--output", "y=y.npy", stderr="")
    same(np.load("y.npy"), reference("matmul.onnx", {"x": np.load("x.npy")})["y"], 1e-3)


def test_far_offsets():
    assert os.path.getsize("far.data") > FAR
    np.save("four.npy", np.ones(4, np.float32))
    weft("run", "far.onnx", "--input", "x=four.npy", "--output", "y=y.npy", stderr="")
    same(np.load("y.npy"), np.arange(1, 5, dtype=np.float32))


def test_run_json():
    shown = weft_json("run", "matmul.onnx", "--dim", "n=3")
    assert shown["ms"] > 0
    assert shown["outputs"] == [{"name": "y", "type": "f32", "dims": [3, 256]}]
    text = weft("run", "matmul.onnx", "--dim", "n=3")
    assert re.fullmatch(r"y: f32\[3,256\]\n\d+\.\d+ ms\n", text), text


# ---- what run refuses --------------------------------------------------------------------------

def test_no_model():
    refuses("cannot read nope.onnx: No such file or directory", "run", "nope.onnx")
    refuses("cannot read .: it is not a file", "run", ".")
    os.mkfifo("pipe")
    refuses("cannot read pipe: it is not a file", "run", "pipe")
    pathlib.Path("text.onnx").write_text("hello\n")
    refuses("text.onnx: this is not an ONNX file: byte 2, ModelProto: field 13 has wire type 4, "
            "which ONNX does not use", "run", "text.onnx")
    pathlib.Path("zero.onnx").write_bytes(b"")
    refuses("zero.onnx: the file is empty", "run", "zero.onnx")


def test_no_external_data():
    refuses("cannot read orphan.onnx.data: No such file or directory\n"
            "weft: orphan.onnx: tensor 'weight': external data: the resolver did not find "
            "orphan.onnx.data", "run", "orphan.onnx")


def test_usage():
    for message, *arguments in [
            ("which model?",),
            ("one model at a time: 'a' and 'b'", "a", "b"),
            ("there is no option --foo", "--foo=1", "a"),
            ("there is no option -x", "a", "-x"),
            ("--json takes no value", "a", "--json=1"),
            ("--seed needs a N", "a", "--seed"),
            ("--threads needs a number from 1 to 4294967295, not '0'", "a", "--threads", "0"),
            ("--threads needs a number from 1 to 4294967295, not '-1'", "a", "--threads", "-1"),
            ("--seed needs a number from 0 to 4294967295, not '4294967296'", "a",
             "--seed=4294967296"),
            ("--seed needs a number from 0 to 4294967295, not '99999999999999999999'", "a",
             "--seed=99999999999999999999"),
            ("--time-limit needs a number from 1 to 4294967295, not '1.5'", "a", "--time-limit",
             "1.5"),
            ("--dim needs a NAME=N, not 'n=abc'", "a", "--dim", "n=abc"),
            ("--dim needs a NAME=N, not 'n='", "a", "--dim", "n="),
            ("--dim needs a NAME=N, not 'n=1,2'", "a", "--dim", "n=1,2"),
            ("--shape needs a NAME=N,N,..., not 'x=1,,2'", "a", "--shape", "x=1,,2"),
            ("--shape needs a NAME=N,N,..., not 'x=1,'", "a", "--shape", "x=1,"),
            ("--shape needs a NAME=N,N,..., not 'x=-1'", "a", "--shape", "x=-1"),
            ("--input needs a NAME=FILE, not 'x.npy'", "a", "--input", "x.npy"),
    ]:
        refuses(message, "run", *arguments, code=2)
    refuses("--runs needs a number from 1 to 4294967295, not '0'", "bench", "a", "--runs", "0",
            code=2)
    refuses("which texts? --text TEXT, --texts FILE", "embed", "a", "--tokenizer", "t", code=2)
    refuses("which tokenizer? --tokenizer FILE", "embed", "a", "--text", "t", code=2)


def test_unknown_names():
    for message, *arguments in [
            ("input 'y' does not exist; there are: x", "--input", "y=x.npy"),
            ("input 'y' does not exist; there are: x", "--shape", "y=1"),
            ("dimension 'm' does not exist; there are: n", "--dim", "m=1"),
            ("output 'z' does not exist; there are: y", "--output", "z=z.npy"),
            ("matmul.onnx: there are no kernels 'foo' in this build, or the processor lacks what "
             "they need", "--kernels", "foo"),
    ]:
        refuses(message, "run", "matmul.onnx", *arguments)
    refuses("dimension 'x' does not exist; there are: none", "run", "far.onnx", "--dim", "x=1")
    passes = "all, remove_dead, fuse_quantized"
    said = weft_message("run", "matmul.onnx", "--disable", "remove_dead,foo")
    assert said.startswith(f"rewrite 'foo' does not exist; there are: {passes}, "), said


def weft_message(*arguments):
    """What the program says when it fails."""
    done = subprocess.run([program, *arguments], capture_output=True, text=True)
    assert done.returncode == 1 and done.stdout == "", done
    return done.stderr.removeprefix("weft: ").rstrip("\n")


def test_arrays_that_do_not_fit():
    np.save("double.npy", np.zeros((1, 256)))
    np.save("narrow.npy", np.zeros((1, 3), np.float32))
    for message, *arguments in [
            ("input 'x': type is f64, but f32 is expected", "--input", "x=double.npy"),
            ("input 'x': dimension 1 is 3, but 256 is expected", "--input", "x=narrow.npy"),
            ("input 'x': rank is 0, but 2 is expected", "--shape", "x="),
            ("--shape: input 'x' has more than 8 dimensions", "--shape", "x=1,1,1,1,1,1,1,1,1"),
            ("input 'x': tensor: more than 1099511627776 elements", "--dim",
             "n=99999999999999999999"),
    ]:
        refuses(message, "run", "matmul.onnx", *arguments)


def test_broken_npy():
    whole = pathlib.Path("x.npy").read_bytes()
    header = whole[:128]
    cases = {
        "cut": ("the array is cut short", whole[:-1]),
        "huge": ("the array is cut short", header.replace(b"(3, 256)", b"(1099511627776, 9)")),
        "negative": ("the array is cut short", header.replace(b"(3, 256)", b"(-3, 256)") + whole),
        "text": ("this is not a .npy file", b"hello"),
        "nothing": ("this is not a .npy file", b""),
        "ranks": ("its shape is not one of at most 8 dimensions",
                  header.replace(b"(3, 256)", b"(1,1,1,1,1,1,1,1,1)")),
        "odd": ("its shape is not one of at most 8 dimensions",
                header.replace(b"(3, 256)", b"(3L, 256L)")),
    }
    for name, (message, content) in cases.items():
        pathlib.Path("broken.npy").write_bytes(content)
        refuses(f"broken.npy: {message}", "run", "matmul.onnx", "--input", "x=broken.npy")
    for message, array in [
            ("the array is in Fortran order: numpy.ascontiguousarray makes it C order",
             np.asfortranarray(np.zeros((3, 256), np.float32))),
            ("elements of type '<c8' are not supported", np.zeros(3, np.complex64)),
            ("elements of type '>f4' are not supported", np.zeros(3, ">f4")),
            ("elements of type '<U3' are not supported", np.array(["abc"])),
    ]:
        np.save("refused.npy", array)
        refuses(f"refused.npy: {message}", "run", "matmul.onnx", "--input", "x=refused.npy")


def test_npy_cut_anywhere():
    whole = pathlib.Path("x.npy").read_bytes()
    for length in [*range(130), len(whole) // 2]:
        pathlib.Path("broken.npy").write_bytes(whole[:length])
        said = weft_message("run", "matmul.onnx", "--input", "x=broken.npy")
        assert said in ("broken.npy: this is not a .npy file", "broken.npy: the array is cut short")


def test_broken_npz():
    refuses("x.npy: Not a zip archive", "run", "matmul.onnx", "--inputs", "x.npy")
    refuses("nope.npz: No such file", "run", "matmul.onnx", "--inputs", "nope.npz")
    refuses("archive member 'x.npy' does not exist; there are: f32.npy, f64.npy, f16.npy, i64.npy, "
            "i32.npy, u8.npy, bool.npy", "run", "matmul.onnx", "--inputs", "types.npz")
    with zipfile.ZipFile("text.npz", "w") as archive:
        archive.writestr("x.npy", "hello")
    refuses("text.npz: x.npy: this is not a .npy file", "run", "matmul.onnx", "--inputs",
            "text.npz")
    np.savez("flipped.npz", x=np.load("x.npy"))
    content = bytearray(pathlib.Path("flipped.npz").read_bytes())
    content[1000] ^= 1
    pathlib.Path("flipped.npz").write_bytes(content)
    refuses("flipped.npz: x.npy: CRC error", "run", "matmul.onnx", "--inputs", "flipped.npz")


def test_outputs_whole_or_not_at_all():
    pathlib.Path("kept.npz").write_text("kept")
    for message, *arguments in [
            ("cannot write /nope/y.npy: No such file or directory", "--output", "y=/nope/y.npy"),
            ("cannot write .: Is a directory", "--output", "y=."),
            ("cannot write /dev/full: No space left on device", "--output", "y=/dev/full"),
            ("cannot write /dev/null: an archive can only be a file", "--outputs", "/dev/null"),
            ("cannot write /nope/y.npz: Failure to create temporary file: No such file or "
             "directory", "--outputs", "/nope/y.npz"),
    ]:
        refuses(message, "run", "matmul.onnx", *arguments)
    refuses("cannot write b.npy: there are no .npy files of type bf16", "run", "names.onnx",
            "--output", "bf16=b.npy")
    refuses("input 'x': rank is 1, but 2 is expected", "run", "matmul.onnx", "--shape", "x=1",
            "--outputs", "kept.npz")
    assert pathlib.Path("kept.npz").read_text() == "kept"
    assert not pathlib.Path("b.npy").exists() and not list(pathlib.Path().glob("*.part"))
    weft("run", "matmul.onnx", "--output", "y=/dev/null", stderr="")
    with open("/dev/full", "w") as full:
        done = subprocess.run([program, "inspect", "matmul.onnx"], stdout=full, text=True,
                              stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert done.stderr == "weft: cannot write to the standard output\n", done.stderr


def test_limits():
    refuses("node '/MatMul' (matmul): the run's time limit has passed", "run", "matmul.onnx",
            "--time-limit", "1", "--dim", "n=100000")
    said = weft_message("run", "matmul.onnx", "--memory-limit", "1", "--dim", "n=100000")
    assert re.fullmatch(r"a tensor needs 102400000 bytes, but \d+ of the memory limit of 1048576 "
                        r"bytes are in use", said), said


# ---- interruption and progress -----------------------------------------------------------------

def on_terminal(*arguments, stop=None):
    """The exit code, and what stands on stderr when that is a terminal. `stop`: a signal, sent when
    the runs of a benchmark have begun."""
    ours, theirs = pty.openpty()
    with subprocess.Popen([program, *arguments], stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=theirs) as running:
        os.close(theirs)
        shown = b""
        while piece := read_terminal(ours):
            shown += piece
            if stop and b"running [" in shown:
                running.send_signal(stop)
                stop = None
    os.close(ours)
    return running.returncode, shown.decode().replace("\r\n", "\n")


def read_terminal(terminal):
    try:
        return os.read(terminal, 4096)
    except OSError:  # how Linux says that the other end is closed
        return b""


def test_interrupt():
    for number in (signal.SIGINT, signal.SIGTERM):
        for threads in ("1", "2"):
            code, shown = on_terminal("bench", "matmul.onnx", "--runs", "1000000", "--threads",
                                      threads, stop=number)
            assert code == 128 + number, code
            assert re.search(r"\d%\r\x1b\[Kweft: interrupted\n$", shown), shown


def test_progress():
    code, shown = on_terminal("bench", "matmul.onnx", "--runs", "50")
    assert "\rreading [" in shown
    assert code == 0 and "\rrunning [##" in shown and shown.endswith("\r\x1b[K"), shown
    assert "100%" not in shown
    code, shown = on_terminal("bench", "matmul.onnx", "--runs", "50", "--quiet")
    assert (code, shown) == (0, "")
    assert "running" not in weft("bench", "matmul.onnx", "--runs", "50", stderr="")


# ---- inspect and bench -------------------------------------------------------------------------

def test_inspect():
    shown = weft_json("inspect", "types.onnx")
    assert [(i["name"], i["type"], i["dims"]) for i in shown["inputs"]] == \
        [(name, name, ["n", 3]) for name in TYPES]
    assert [(o["name"], o["dims"]) for o in shown["outputs"]] == \
        [(name + "_t", [3, "n"]) for name in TYPES]
    assert shown["metadata"] == {"author": 'a "quoted" name\n'}
    assert (shown["graph_name"], shown["producer"], shown["nodes"], shown["opset"]) == \
        ("types", "weft-tests", len(TYPES), 17)
    assert weft_json("inspect", "names.onnx")["inputs"][0]["dims"] == [None, 2]
    assert weft_json("inspect", "matmul.onnx")["weight_bytes"] >= 256 * 256 * 4
    assert weft("inspect", "matmul.onnx", stderr="") == (
        "matmul, made by weft-tests \nIR version 8, opset 17, 3 nodes, weights of 0.2 MiB\n"
        "inputs\n  x: f32[n,256]\noutputs\n  y: f32[n,256]\n")


def test_inspect_dumps():
    graph = weft("inspect", "matmul.onnx", "--graph", stderr="")
    plan = weft("inspect", "matmul.onnx", "--plan", "--dim", "n=7", stderr="")
    assert "matmul" in graph and "[7,256]" in plan
    both = weft_json("inspect", "matmul.onnx", "--graph", "--plan", "--dim", "n=7")
    assert (both["graph"], both["plan"]) == (graph, plan)
    raw = weft("inspect", "matmul.onnx", "--graph", "--disable", "all")
    assert raw != graph


def test_gpu():
    """The null GPU answers everywhere, and others only where the build has WebGPU and finds one."""
    named = "null, executes nothing (software)"
    described = weft("inspect", "matmul.onnx", stderr="")
    assert weft("inspect", "matmul.onnx", "--gpu=null", stderr="") == f"{described}GPU: {named}\n"
    assert weft_json("inspect", "matmul.onnx", "--gpu=null")["gpu"] == named
    weft("run", "matmul.onnx", "--gpu=null")
    said = weft_message("run", "matmul.onnx", "--gpu=null", "--tune", "slowly")
    assert said == "value of --tune 'slowly' does not exist; there are: auto, off, fast, full"
    shown = weft_json("bench", "matmul.onnx", "--gpu=null", "--runs", "1")
    assert shown["gpu"] == named and 0 < shown["gpu_memory_mib"] < 1, shown
    assert all(step["calls"] == 1 for step in shown["steps"]), shown
    (step,) = [step for step in shown["steps"] if step["op"] == "matmul"]
    assert step["ms"] > 0 and step["gflops"] > 0, step
    chosen = subprocess.run([program, "run", "matmul.onnx", "--gpu=auto"], capture_output=True,
                            text=True, timeout=SECONDS_MAX)
    assert chosen.returncode == 0 and chosen.stderr.startswith(("weft: CPU: ", "weft: GPU: ")), \
        chosen.stderr
    for command in ("inspect", "run", "bench"):
        # Sanitizers may have a word about Vulkan's drivers after it.
        said = weft_message(command, "matmul.onnx", "--gpu=no such GPU").splitlines()[0]
        assert said in ("WebGPU has no adapter named 'no such GPU'",
                        "this build of Weft has no WebGPU: configure it with "
                        "-DWEFT_WEBGPU=FOLDER, which holds webgpu.h and the library of "
                        "wgpu-native or Dawn"), said


def test_run_on_gpu():
    found = subprocess.run([program, "inspect", "matmul.onnx", "--gpu"], capture_output=True)
    if found.returncode == 1:
        print(f"({found.stderr.decode().strip()})", end=" ")
        return
    options = ["run", "matmul.onnx", "--dim", "n=7"]
    weft(*options, "--outputs", "cpu.npz")
    weft(*options, "--outputs", "gpu.npz", "--gpu")
    with np.load("cpu.npz") as expected, np.load("gpu.npz") as actual:
        same(actual["y"], expected["y"], 1e-4)
    tuned = [*options, "--gpu", "--tune", "fast", "--tuning", "gpu.tuning", "--quiet"]
    weft(*tuned)
    measured = pathlib.Path("gpu.tuning").read_text()
    assert re.match(r"weft-tuning 1 .+\nmatmul [\d ]+\n", measured), measured
    weft(*tuned)
    assert pathlib.Path("gpu.tuning").read_text() == measured  # it was read, not measured again


def test_bench():
    options = ["matmul.onnx", "--dim", "n=8", "--runs", "5", "--warmup", "1"]
    shown = weft_json("bench", *options, stderr="")
    assert 0 < shown["min_ms"] <= shown["median_ms"] <= shown["max_ms"]
    assert shown["model_ms"] > 0 and shown["session_ms"] > 0 and shown["first_ms"] > 0
    assert shown["peak_memory_mib"] > 1
    (step,) = [step for step in shown["steps"] if step["op"] == "matmul"]
    assert step["calls"] == 1 and step["ms"] > 0 and step["gflops"] > 0
    assert step["node"] and step["kernel"]
    text = weft("bench", *options, "--steps")
    assert "over 5 runs" in text and re.search(r"^matmul .*/MatMul", text, re.M), text
    assert re.search(r"^this machine: [\d.]+ GFLOP/s in f32, memory [\d.]+ GB/s$", text, re.M), text


def test_bench_peak():
    """Shares are of the peak of as many threads; other steps have none."""
    options = ["matmul.onnx", "--dim", "n=256", "--runs", "50"]
    for threads in (1, 2):
        shown = weft_json("bench", *options, "--threads", threads)
        assert shown["peak_gflops"] > 1 and shown["peak_gb_per_s"] > 0.1
        (step,) = [step for step in shown["steps"] if step["op"] == "matmul"]
        rates = (step["gflops"] / shown["peak_gflops"], step["gb_per_s"] / shown["peak_gb_per_s"])
        assert abs(step["of_peak"] - max(rates)) < 0.01, step
        # The peak is no less than what a kernel does; a busy machine may have slowed it by half.
        assert 0 < step["gflops"] < 2 * shown["peak_gflops"], shown
        others = [step for step in shown["steps"] if not step["gflops"] and not step["gb_per_s"]]
        assert all(step["of_peak"] == 0 for step in others)


def test_help():
    for command in ("run", "inspect", "bench", "embed"):
        shown = weft(command, "--help", stderr="")
        assert shown.startswith(f"usage: weft {command} MODEL")
        assert f"\nexamples:\n  weft {command} " in shown and "--json" in shown
        assert max(map(len, shown.splitlines())) <= 100
    assert weft("--help", stderr="") == weft("-h") == weft("help")
    assert re.fullmatch(r"weft \d+\.\d+\.\d+\n", weft("--version"))
    assert weft(code=2) == ""
    weft("fly", code=2, stderr=f"weft: there is no command 'fly'\n{weft('--help')}")


# ---- embed -------------------------------------------------------------------------------------

def encode(tokenizer, text):
    """Arrays of one text: what the model takes."""
    encoding = tokenizer.encode(text)
    return {"input_ids": np.array([encoding.ids]),
            "attention_mask": np.array([encoding.attention_mask]),
            "token_type_ids": np.array([encoding.type_ids])}


def expected_vectors(model, texts, max_length=MAX_LENGTH):
    """Mean of onnxruntime's hidden states, text by text, scaled to length 1."""
    tokenizer = make_tokenizer()
    tokenizer.enable_truncation(max_length)
    session = onnxruntime.InferenceSession(model)
    vectors = []
    for text in texts:
        (output,) = session.run(None, encode(tokenizer, text))
        vector = output[0].astype(np.float64)
        vector = vector.mean(0) if vector.ndim == 2 else vector
        vectors.append(vector / np.linalg.norm(vector))
    return np.array(vectors, np.float32)


def test_embed():
    expected = expected_vectors("bert.onnx", TEXTS)
    for options in [[], ["--batch", "3"], ["--batch", "1"], ["--batch", "5000"], ["--threads", "2"],
                    ["--tokenizer", "vocab.txt", "--max-length", str(MAX_LENGTH)]]:
        weft("embed", "bert.onnx", "--tokenizer", "tokenizer.json", "--texts", "texts.txt",
             "--output", "v.npy", "--quiet", *options, stderr="")
        same(np.load("v.npy"), expected, 1e-5)


def test_embed_lengths():
    words = "cat " * 40
    for length in (3, 30):
        weft("embed", "bert.onnx", "--tokenizer", "tokenizer.json", "--text", words, "--output",
             "v.npy", "--max-length", length)
        same(np.load("v.npy"), expected_vectors("bert.onnx", [words], length), 1e-5)


def test_embed_pooled():
    for text in TEXTS:  # one by one: the model's own mean counts padding
        weft("embed", "pooled.onnx", "--tokenizer", "tokenizer.json", "--text", text, "--output",
             "v.npy")
        same(np.load("v.npy"), expected_vectors("pooled.onnx", [text]), 1e-5)


def test_embed_prints():
    options = ["bert.onnx", "--tokenizer", "tokenizer.json", "--text", TEXTS[0], "--text", TEXTS[1]]
    expected = expected_vectors("bert.onnx", TEXTS[:2])
    shown = weft_json("embed", *options, stderr="")
    assert (shown["texts"], shown["width"]) == (2, 32)
    assert shown["ms_per_text"] > 0 and shown["peak_memory_mib"] > 1
    same(np.array(shown["vectors"], np.float32), expected, 1e-5)
    lines = weft("embed", *options, "--quiet", stderr="").splitlines()
    same(np.array([line.split(" ") for line in lines], np.float32), expected, 1e-5)
    assert "vectors" not in weft_json("embed", *options, "--output", "v.npy")


def test_embed_ranks():
    queries = ["a dog runs", 'the "web" page']
    scores = expected_vectors("bert.onnx", queries) @ expected_vectors("bert.onnx", TEXTS).T
    options = ["bert.onnx", "--tokenizer", "tokenizer.json", "--texts", "texts.txt", "--top", "4"]
    options += [option for query in queries for option in ("--query", query)]
    shown = weft_json("embed", *options, stderr="")["queries"]
    assert [entry["query"] for entry in shown] == queries
    for entry, row in zip(shown, scores):
        best = np.argsort(-row)[:4]
        assert [hit["text"] for hit in entry["hits"]] == best.tolist()
        np.testing.assert_allclose([hit["score"] for hit in entry["hits"]], row[best], atol=1e-5)
    text = weft("embed", *options)
    assert text.splitlines()[:2] == [queries[0], f"  {scores[0].max():.4f}  "
                                     + TEXTS[scores[0].argmax()]]


def test_embed_odd_models():
    options = ["nan.onnx", "--tokenizer", "vocab.txt", "--text", "a cat"]
    shown = weft_json("embed", *options, "--query", "the cat")
    assert shown["queries"][0]["hits"] == [{"text": 0, "score": None}]
    assert weft_json("embed", *options)["vectors"] == [[None] * 4]
    refuses("the model's vectors are of 4 numbers for some texts and 3 for others", "embed",
            *options, "--query", "the")
    refuses("input 'f32' is not that of a text encoder (input_ids, attention_mask, token_type_ids)",
            "embed", "types.onnx", *options[1:])


def test_embed_invalid_utf8():
    shown = weft_json("embed", "bert.onnx", "--tokenizer", "vocab.txt", "--text", "a", "--query",
                      b"caf\xe9 \xff\xed\xa0\x80".decode("utf-8", "surrogateescape"))
    assert shown["queries"][0]["query"] == "caf\ufffd \ufffd\ufffd\ufffd\ufffd"


def test_embed_refuses():
    texts = ["--text", "a"]
    refuses("cannot read nope.json: No such file or directory", "embed", "bert.onnx", "--tokenizer",
            "nope.json", *texts)
    refuses("cannot read nope.txt: No such file or directory", "embed", "bert.onnx", "--tokenizer",
            "vocab.txt", "--texts", "nope.txt")
    pathlib.Path("blank.txt").write_text("\n\r\n\n")
    refuses("blank.txt: there is no text in it", "embed", "bert.onnx", "--tokenizer", "vocab.txt",
            "--texts", "blank.txt")
    pathlib.Path("broken.json").write_text("{")
    said = weft_message("embed", "bert.onnx", "--tokenizer", "broken.json", *texts)
    assert said.startswith("broken.json: "), said


# ---- all of them -------------------------------------------------------------------------------

def run_test(name, test):
    print(name, end=" ", flush=True)
    try:
        test()
    except Exception:
        print("FAILED")
        traceback.print_exc(file=sys.stdout)
        return False
    print("ok")
    return True


def main():
    global program
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", nargs="?", type=pathlib.Path, default=ROOT / "build/native/weft")
    parser.add_argument("-k", metavar="PATTERN", default="", help="only tests whose name matches")
    arguments = parser.parse_args()
    program = str(arguments.program.resolve())
    tests = [(name, test) for name, test in globals().items()
             if name.startswith("test_") and re.search(arguments.k, name)]
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        fixtures.make_all(pathlib.Path(folder))
        passed = sum(run_test(name, test) for name, test in tests)
        os.chdir(ROOT)
    print(f"{passed} passed, {len(tests) - passed} failed")
    return 0 if passed == len(tests) > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
