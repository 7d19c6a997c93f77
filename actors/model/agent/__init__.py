"""The agent: what a worker does about what the server wants (DESIGN 8). Pure.

Begin with `journal.py` (what survives its crash), `order.py` (one run as it was ordered and as it is) and `agent.py`.
"""

from gpuyard.actors.model.agent.agent import Agent as Agent
from gpuyard.actors.model.agent.journal import Entry as Entry
from gpuyard.actors.model.agent.outbox import AgentOutbox as AgentOutbox
from gpuyard.actors.model.agent.settings import AgentSettings as AgentSettings
