"""The fleet: what the WorkerRegistry knows and promises about workers on other hosts (DESIGN 8). Pure.

Begin with `states.py` (what a worker can be), `sessions.py` (who is heard), `leases.py` (when a silent worker's run is
lost), `reports.py` (what its reports mean) and `fleet.py` (all of it together).
"""

from gpuyard.actors.model.fleet.fleet import Fleet as Fleet
from gpuyard.actors.model.fleet.outbox import FleetOutbox as FleetOutbox
from gpuyard.actors.model.fleet.record import Key as Key, WorkerRecord as WorkerRecord, from_row as from_row
from gpuyard.actors.model.fleet.settings import FleetSettings as FleetSettings
from gpuyard.actors.model.fleet.states import WorkerState as WorkerState
from gpuyard.actors.model.fleet.worker import Worker as Worker
