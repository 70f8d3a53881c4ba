"""Child process: a Keras file in, a SavedModel folder out. Refuses files that carry Python code.

Exit code 3: the file carries code; its layers are printed.
"""

from __future__ import annotations

import sys
from pathlib import Path

__all__: list[str] = []


def _main(source: str, folder: str) -> None:
    from n6convert.importers.keras_config import HAS_CODE, adapted, layers_with_code

    path, config = adapted(Path(source), Path(folder).parent)
    code = layers_with_code(config)
    if code:
        print(", ".join(code))
        sys.exit(HAS_CODE)
    import keras

    model = keras.saving.load_model(path, compile=False, safe_mode=True)
    model.export(folder, verbose=False)


if __name__ == "__main__":
    _main(sys.argv[1], sys.argv[2])
