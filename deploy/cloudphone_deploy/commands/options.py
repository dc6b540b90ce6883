"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

Data = Annotated[Path | None, Parameter(help="The data folder; by default CLOUDPHONE_DATA, or `.cloudphone` here.")]
Json = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON for a script instead of text.")]
