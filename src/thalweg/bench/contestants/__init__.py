"""thalweg and its peers, each behind the methods of `base.Contestant`. Only a contestant's own process imports them."""

__all__ = ()
