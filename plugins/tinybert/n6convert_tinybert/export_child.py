"""Child process: a Hugging Face folder in, an ONNX file out. Runs no code of the folder's."""

from __future__ import annotations

import sys

__all__: list[str] = []


def _main(folder: str, output: str, task: str, sequence: str) -> None:
    from optimum.exporters.onnx import main_export

    main_export(
        folder,
        output=output,
        task=task,
        opset=17,
        local_files_only=True,
        trust_remote_code=False,
        no_dynamic_axes=True,
        do_validation=False,
        batch_size=1,
        sequence_length=int(sequence),
    )


if __name__ == "__main__":
    _main(*sys.argv[1:])
