"""One node, over the wire.

connection  a session: time-outs, TLS, errors as :class:`~pfms_ha_tui.nodes.failures.SqlError`
dialect     every statement in the server's own words; parsing: its rows as facts
probe       one probe; prober: the thread that watches; writeprobe: whether it can write; details: on demand
shell       SSH: commands, evidence about the host, a look through it; service: start, stop, kill
wire        sockets that can be waited for; failures: what an error says about the node
"""
