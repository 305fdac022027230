"""``python -m mbv1_backbone VERB ...``: the command ``mbv1``."""

import sys

from mbv1_backbone.cli.main import main

if __name__ == '__main__':
    sys.exit(main())
