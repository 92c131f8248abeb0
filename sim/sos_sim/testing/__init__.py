"""Zones for tests: on virtual time (``virtual.VirtualZone``) and as real processes (``live.LiveZone``), with
expectations that read like sentences. The pytest plug-in (``sos_sim.plugin``) hands them to tests."""
