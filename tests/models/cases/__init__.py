"""Small models with their inputs. Each module's functions yield Case; all_cases() lists all."""
import importlib

MODULES = ["nets", "attention", "elementwise", "linear", "reduce", "views", "shapes", "files",
           "generated", "quantized", "decoder"]


def all_cases():
    for name in MODULES:
        module = importlib.import_module(f"cases.{name}")
        for make in module.CASES:
            yield from make()
