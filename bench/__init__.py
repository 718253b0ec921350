"""Measures the hub against plain git on one machine in one run; ``make bench`` runs it.

``run`` is the command line, ``workbench`` holds what the sections share, ``sections`` measure, and
``report`` writes the table. The rest is the two sides (``hub``, ``baselines``), their clients and
the readings of /proc.
"""
