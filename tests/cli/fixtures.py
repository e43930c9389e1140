"""The models, arrays and tokenizers that run.py gives to the program; all are small and made from a
seed."""
import numpy as np
import onnx
from onnx import TensorProto, helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from minilm_to_onnx import Bert, random_weights, small_config
from onnx_build import Graph, save

TYPES = ["f32", "f64", "f16", "i64", "i32", "u8", "bool"]
WORDS = ("the a cat dog weft warp thread web model runs in page and is of on fast slow small large"
         " text word ##s ##ing ##ed vector query answer").split()
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
TEXTS = ["the cat runs", "a dog and a cat", "the weft is a thread", "query",
         "models running in webs", "a", "the word is unknown here",
         "large vectors and small vectors and slow dogs on the page"]
MAX_LENGTH = 8  # of tokenizer.json; the longest text has more tokens
FAR = 3 << 30  # beyond what 32 bits hold


def numpy_type(element):
    return np.dtype({"f32": "f4", "f64": "f8", "f16": "f2", "bool": "?"}.get(element)
                    or element[0] + str(int(element[1:]) // 8))


def types_model():
    """Transposes one input of each type, [n, 3] -> [3, n]."""
    g = Graph("types")
    for element in TYPES:
        g.input(element, element, ["n", 3])
        g.output(g.Transpose(element, perm=[1, 0], out=element + "_t"), element, [3, "n"])
    model = g.model()
    entry = model.metadata_props.add()
    entry.key, entry.value = "author", 'a "quoted" name\n'
    return model


def types_feed(n, seed=1):
    rng = np.random.default_rng(seed)
    return {element: (rng.standard_normal((n, 3)) * 3).astype(numpy_type(element))
            for element in TYPES}


def matmul_model():
    """y [n, 256] = (x [n, 256] @ w) + 1"""
    g = Graph("matmul")
    w = np.random.default_rng(2).standard_normal((256, 256), dtype=np.float32)
    x = g.input("x", "f32", ["n", 256])
    g.output(g.Add(g.MatMul(x, g.weight(w)), g.constant(1), out="y"), "f32", ["n", 256])
    return g.model()


def names_model():
    """Names that mean something to terminals, JSON and options; a dimension without a name, a
    scalar, and an output that .npy cannot hold."""
    g = Graph("names")
    g.input("a=b", "f32", [None, 2])
    g.input("s", "f32", [])
    g.output(g.Mul("a=b", "s", out='o"\x1b[31m\\'), "f32", [None, 2])
    g.output(g.Cast("s", to=TensorProto.BFLOAT16, out="bf16"), "bf16", [])
    return g.model()


def bert(pooled):
    config = small_config(vocabulary=len(SPECIAL) + len(WORDS))
    model = Bert(config, random_weights(config)).model()
    if pooled:
        axes = model.graph.output.pop().name
        model.graph.node.append(helper.make_node("ReduceMean", [axes], ["sentence"], axes=[1],
                                                 keepdims=0))
        model.graph.output.append(
            helper.make_tensor_value_info("sentence", TensorProto.FLOAT, ["batch", 32]))
    return model


def not_a_number_model():
    """Vectors as wide as texts have tokens, of NaN."""
    g = Graph("nan")
    ids = g.Cast(g.input("input_ids", "i64", ["batch", "sequence"]), to=TensorProto.FLOAT)
    g.output(g.Sqrt(g.Sub(g.constant(-1), ids)), "f32", ["batch", "sequence"])
    return g.model()


def save_far(path):
    """A model whose weight lies 3 GiB into a sparse file beside it."""
    w = np.arange(4, dtype="f4")
    g = Graph("far")
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4],
                         data_location=TensorProto.EXTERNAL)
    for key, value in [("location", "far.data"), ("offset", FAR), ("length", w.nbytes)]:
        tensor.external_data.add(key=key, value=str(value))
    g.output(g.Add(g.input("x", "f32", [4]), g.initializer(tensor), out="y"), "f32", [4])
    path.write_bytes(g.model().SerializeToString())
    with open(path.with_name("far.data"), "wb") as data:
        data.seek(FAR)
        data.write(w.tobytes())


def make_tokenizer():
    vocabulary = {token: i for i, token in enumerate(SPECIAL + WORDS)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.enable_truncation(MAX_LENGTH)
    return tokenizer


def make_all(folder):
    """Writes everything into the folder, the names as run.py knows them."""
    for name, model in [("types", types_model()), ("matmul", matmul_model()),
                        ("names", names_model()), ("bert", bert(False)), ("pooled", bert(True)),
                        ("nan", not_a_number_model())]:
        onnx.save(model, folder / (name + ".onnx"))
    save(matmul_model(), folder / "external.onnx", external=True)
    save(matmul_model(), folder / "orphan.onnx", external=True)
    (folder / "orphan.onnx.data").unlink()
    save_far(folder / "far.onnx")
    make_tokenizer().save(str(folder / "tokenizer.json"))
    (folder / "vocab.txt").write_text("\n".join(SPECIAL + WORDS) + "\n")
    (folder / "texts.txt").write_text("\n\n".join(TEXTS) + "\r\n")
    x = np.random.default_rng(3).standard_normal((3, 256), dtype=np.float32)
    np.save(folder / "x.npy", x)
    np.savez(folder / "types.npz", **types_feed(5))
    np.savez_compressed(folder / "compressed.npz", **types_feed(5))
    np.savez(folder / "empty.npz", **types_feed(0))
