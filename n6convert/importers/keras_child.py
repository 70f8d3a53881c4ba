"""Child process: a Keras file in, a SavedModel folder out. Refuses files that carry Python code."""

from __future__ import annotations

import sys

__all__: list[str] = []


def _main(source: str, folder: str) -> None:
    import keras

    model = keras.saving.load_model(source, compile=False, safe_mode=True)
    model.export(folder, verbose=False)


if __name__ == "__main__":
    _main(sys.argv[1], sys.argv[2])
