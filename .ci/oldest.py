"""Print the oldest versions that setup.cfg promises, as constraints for pip."""

import configparser
import re
from pathlib import Path

setup = configparser.ConfigParser()
setup.read(Path(__file__).parents[1] / "setup.cfg", encoding="utf-8")
requirements = "\n".join([setup["options"]["install_requires"], *setup["options.extras_require"].values()])
print("\n".join(sorted({f"{name}=={v}" for name, v in re.findall(r"(?m)^([\w-]+)>=([\d.]+)", requirements)})))
