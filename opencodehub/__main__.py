"""``python -m opencodehub`` is ``och``."""

import sys

from opencodehub.cli import main

sys.exit(main())
