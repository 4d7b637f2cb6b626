"""One node, over the wire: SQL connection, dialects, probe and prober, SSH, service control."""
