"""``thalweg bench``: thalweg and its peers on the same works, in turn. Nothing else of thalweg imports it.

A **work** is a training: network, batch size, optimizer, data, first weights. A **contestant** trains it, in a process of
its own (`child`), which a **player** starts, stops and asks. A **turn** is what one contestant did in one round, with the
state of the machine before and after. A **result** is all turns of a work, and from results come tables and pictures.
"""

__all__ = ()
