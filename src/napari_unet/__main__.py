"""Run the command line with ``python -m napari_unet``."""

import os
import sys

from napari_unet.cli import main

if __name__ == "__main__":  # not in a child process that imports it
    code: int = main()
    if "RANK" in os.environ:
        # Started by torchrun. All is written and said; torch 2.13 now and then aborts
        # when the interpreter takes apart what is left of a process group.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
