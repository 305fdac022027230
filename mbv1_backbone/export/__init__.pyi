from .graphs import (
    BackboneGraph as BackboneGraph,
    ClassifierGraph as ClassifierGraph,
    EmbedderGraph as EmbedderGraph,
    Graph as Graph,
)
from .writers import write as write
