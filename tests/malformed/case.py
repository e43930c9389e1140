"""What the groups of malformed files share."""

from proto import *

CASES = []

RELU = node("Relu", ["x"], ["y"])
X, Y = value("x"), value("y")
GOOD = model(graph([RELU], [X], [Y]))


def case(name, data, answer):
    """A file, and the first failure while it is opened, made a session and run once on zeros, as
    "status: message", or "ok". The texts are exact; "..." at the end leaves the rest open."""
    CASES.append((name, data, answer))


def weight_on(weight):
    """x + w, where w is a TensorProto."""
    return model(graph([node("Add", ["x", "w"], ["y"])], [X], [value("y", None)], [weight]))
