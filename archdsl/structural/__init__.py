"""The table of structural operations: those whose instances hold regions. Each module says all of one."""

from __future__ import annotations

from archdsl.structural.base import Structural
from archdsl.structural.call import CALL
from archdsl.structural.cell import CELL
from archdsl.structural.loop import LOOP
from archdsl.structural.repeat import REPEAT
from archdsl.structural.route import ROUTE
from archdsl.structural.scan import SCAN
from archdsl.structural.skip import SKIP
from archdsl.structural.train import TRAIN

TABLE: dict[str, Structural] = {operation.name: operation for operation in (CALL, REPEAT, LOOP, ROUTE, SKIP, TRAIN, SCAN, CELL)}
