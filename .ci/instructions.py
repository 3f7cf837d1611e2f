#!/usr/bin/env python3
"""instructions.py DIRECTORY [OUTPUT]: the instruction counts that gungraun has left there, and what they must show.

Prints the table of the README as Markdown, and writes it to OUTPUT as well: each
operation beside its goal and beside the same work of others, counted in the same
run by the same harness. Fails

- when an operation takes more instructions than its ceiling: the goal, or the
  number that was reached where a goal is still missed (the reason stands there);
- when a count depends on the length of the packet: benches of one function whose
  ids are `bytes_64`, `bytes_1280` and so on. Nothing that happens once a packet may
  touch the payload, let alone copy it;
- when a row below was not measured.
"""
import collections
import json
import pathlib
import sys

# (text, ours, goal, ceiling, {peer: bench}); a bench is "function" or "function case".
# The ceiling is the goal, or lower, a little above what was reached, so that nothing is lost unseen.
ROWS = [
    ("decapsulate, ISATAP from a host: parse and every check", "decap_isatap", 100, None,
     {"etherparse": "decap_etherparse", "smoltcp": "decap_smoltcp"}),
    ("decapsulate, ISATAP from the router: parse and every check", "decap_isatap_router", 100, None,
     {"etherparse": "decap_etherparse", "smoltcp": "decap_smoltcp"}),
    ("decapsulate, configured: parse and every check", "decap_configured", 100, 86,
     {"etherparse": "decap_etherparse", "smoltcp": "decap_smoltcp"}),
    ("decapsulate, 6to4: parse and every check", "decap_sixtofour", 150, 138,
     {"etherparse": "decap_etherparse", "smoltcp": "decap_smoltcp"}),
    ("decapsulate, 6rd: parse and every check", "decap_sixrd", 150, None,
     {"etherparse": "decap_etherparse", "smoltcp": "decap_smoltcp"}),
    # Such sources are let in only where the outer header was taken off.
    ("decapsulate, IPv4-compatible behind a socket: parse and every check", "decap_compatible", 150, 138, {}),
    ("encapsulate from a template", "encap_template", 55, 52,
     {"etherparse": "encap_etherparse", "smoltcp": "encap_smoltcp"}),
    ("Router Advertisement, 3 options, verified and read", "advertisement", 260, None,
     {"etherparse": "advertisement_etherparse", "smoltcp": "advertisement_smoltcp"}),
    ("Router Solicitation with IPv6 header, built", "solicitation", 55, None,
     {"etherparse": "solicitation_etherparse", "smoltcp": "solicitation_smoltcp"}),
    ("sort 4 addresses: ISATAP, 6to4, Teredo, other (each)", "classify", 26, 22, {}),
    # For a resolver, not for packets: no goal.
    ("source for a native destination, of 4 addresses", "choose_source", None, 1900, {}),
    ("4 destinations in their order, the best last", "sort_destinations", None, 5300, {}),
    ("checksum, 20 bytes", "checksum length_20", None, 70,
     {"etherparse": "checksum_etherparse length_20", "smoltcp": "checksum_smoltcp length_20"}),
    ("checksum, 1,280 bytes", "checksum length_1280", 450, 310,
     {"etherparse": "checksum_etherparse length_1280", "smoltcp": "checksum_smoltcp length_1280"}),
    # A machine takes and gives outer headers beside the bytes, as a socket does; the row behind each is for who
    # has whole packets.
    ("host: route, checks, encapsulate", "node_encapsulate", None, 487, {}),
    ("host: the same, IPv4 header put in front", "node_encapsulate_ipv4", None, 590, {}),
    # Above the goal: of a known flow, out, 32 are calls and saved registers, some 60 the comparison and its counters, 21 the
    # inner header, 28 the neighbour, 58 the outer header and the verdict; a packet of another flow than the last one's
    # pays 53 for the comparison in vain and the keyed hash. A new one pays what a node without a table does, and 164 to 264
    # for the table: hash, comparisons, the way handed on in memory, the row. Of the former, route and outer addresses are
    # most on the way out, the flow and what its link asks of it on the way in, and in a router a call of a `dyn Link`
    # for each question.
    ("host: the same of a flow that the table of decisions knows", "known_encapsulate", 180, 207,
     {"etherparse": "encap_etherparse", "smoltcp": "encap_smoltcp"}),
    ("host: the same of a known flow, behind a packet of another", "known_encapsulate_other", None, 256, {}),
    ("host: the same of a new flow, which the table then knows", "new_encapsulate", 440, 757, {}),
    # With a look whom it is for: this link does not forward.
    ("host: every check, decapsulate", "node_decapsulate", None, 405, {}),
    ("host: the same of a whole IPv4 packet", "node_decapsulate_ipv4", None, 511, {}),
    ("host: the same of a flow that the table knows", "known_decapsulate", 180, 161,
     {"etherparse": "decap_etherparse", "smoltcp": "decap_smoltcp"}),
    ("host: the same of a new flow", "new_decapsulate", 307, 575, {}),
    ("router: decapsulate, checks, forward", "node_forward", None, 820, {}),
    ("router: the same of a flow that the table knows", "known_forward", 300, 243, {}),
    ("router: the same of a new flow", "new_forward", 776, 1080, {}),
    ("router: a flood of new flows, 16 times what the table holds (each)", "flood", None, 1090, {}),
    # A link of each kind, both ways, with the packet rewritten. No goal was set: the ceilings are what was
    # reached and a tenth, so that a rule that costs more than it should shows.
    ("ISATAP: rules, resolve, encapsulate", "send_isatap", None, 195, {}),
    ("ISATAP: parse, admit, decapsulate", "receive_isatap", None, 165, {}),
    ("configured: rules, resolve, encapsulate", "send_configured", None, 130, {}),
    ("configured: parse, admit, decapsulate", "receive_configured", None, 142, {}),
    ("6to4: rules, resolve, encapsulate", "send_sixtofour", None, 255, {}),
    ("6to4: parse, admit, decapsulate", "receive_sixtofour", None, 184, {}),
    ("6rd: rules, resolve, encapsulate", "send_sixrd", None, 280, {}),
    ("6rd: parse, admit, decapsulate", "receive_sixrd", None, 204, {}),
    ("IPv4-compatible: rules, resolve, encapsulate", "send_compatible", None, 190, {}),
    ("IPv4-compatible: parse, admit, decapsulate", "receive_compatible", None, 252, {}),
    ("route lookup, 1 route (each)", "lookup_1", None, 42, {}),
    ("route lookup, 8 routes (each)", "lookup_8", None, 66, {}),
    ("route lookup, 64 routes (each)", "lookup_64", None, 74, {}),
    ("route lookup, 512 routes (each)", "lookup_512", None, 185, {}),
    ("full table, 8 routes (each)", "fib routes_8", None, 112, {}),
    ("full table, 512 routes (each)", "fib routes_512", None, 158, {}),
    ("full table, 200,000 routes (each)", "fib routes_200000", None, 204, {}),
    ("full table, a batch, 8 routes (each)", "fib_batch routes_8", None, 101, {}),
    ("full table, a batch, 200,000 routes (each)", "fib_batch routes_200000", None, 221, {}),
    # A router of the list may send 4,000 in one message: an index of the table for each made that 0.2 s of a
    # processor, and counting each router's rows once for each of them 0.8 s.
    ("advertised route that comes or goes, table for 64 (each)", "learn changing", None, 4600, {}),
    ("advertised route without room, table for 64 (each)", "learn refused", None, 11700, {}),
    # Teredo, without the checksum of UDP, which is the sockets'. Above the goal, and what stands in the way. A packet to
    # a peer not heard of before: it is read and looked for in 16 places (180), where its peer and server are is judged
    # (100), and a row of the peers (95), one of a session (80) and the first attempt (100) are written: more than 327
    # whatever is saved elsewhere.
    ("Teredo datagram: headers, packet and trailers told apart", "teredo_datagram", 100, 46, {}),
    ("Teredo datagram: parse and every check of a client", "teredo_admit", 150, 146, {}),
    ("Teredo client: a datagram of a known peer, delivered", "teredo_receive", 300, 300, {}),
    ("Teredo client: a packet to a known peer", "teredo_encapsulate", 250, 242, {}),
    ("Teredo client: a datagram of a peer not heard of before", "teredo_receive_first", 705, 520, {}),
    ("Teredo client: a packet to a peer not heard of before", "teredo_encapsulate_first", 327, 866, {}),
    ("Teredo relay: a datagram of a known peer, delivered", "teredo_relay_in", None, 218, {}),
    ("Teredo relay: a packet to a known peer", "teredo_relay_out", None, 265, {}),
    ("IPv4 and UDP header with checksum before 64 bytes", "push_udp length_64", None, 215, {}),
    ("IPv4 and UDP header with checksum before 1,280 bytes", "push_udp length_1280", None, 490, {}),
    ("Teredo peer lookup, table for 100", "teredo_lookup peers_100", None, 72, {}),
    ("Teredo peer lookup, table for 10,000", "teredo_lookup peers_10000", None, 72, {}),
    ("Teredo peer lookup, table for 1,000,000", "teredo_lookup peers_1000000", None, 72, {}),
    ("Teredo server: RS to RA", "teredo_server", 700, 700, {}),
    ("Teredo server: a client's bubble, carried to another", "teredo_server_carry", None, 665, {}),
]
# Counts of this many operations at once.
BATCHES = {"classify": 4, "lookup_1": 64, "lookup_8": 64, "lookup_64": 64, "lookup_512": 64, "fib": 64, "fib_batch": 64, "learn": 160, "flood": 1024}
PEERS = ("etherparse", "smoltcp")

directory = pathlib.Path(sys.argv[1])
counts: dict[str, dict[str, int]] = collections.defaultdict(dict)
for path in sorted(directory.rglob("summary.json")):
    bench = json.loads(path.read_text())
    [callgrind] = [profile for profile in bench["profiles"] if profile["tool"] == "Callgrind"]
    values = callgrind["data"]["total"]["metrics"]["Ir"]["values"]
    value = values["new"] if isinstance(values, dict) else values
    counts[bench["function_name"]][bench["id"]] = int(value["Int"] if isinstance(value, dict) else value)


def count(name: str) -> int | None:
    function, _, case = name.partition(" ")
    cases = counts.get(function, {})
    found = cases.get(case) if case else next(iter(cases.values()), None)
    return None if found is None else round(found / BATCHES.get(function, 1))


wrong = []
lines = ["| operation | instructions | goal | etherparse | smoltcp |", "|---|---:|---:|---:|---:|"]
for text, ours, goal, ceiling, peers in ROWS:
    reached = count(ours)
    if reached is None:
        wrong.append(f"{ours} was not measured")
        continue
    limit = ceiling or goal
    if limit is not None and reached > limit:
        wrong.append(f"{text}: {reached} instructions, at most {limit}")
    others = [count(peers[peer]) if peer in peers else None for peer in PEERS]
    cells = [reached, "-" if goal is None else f"≤ {goal}", *("-" if other is None else other for other in others)]
    lines.append(f"| {text} | {' | '.join(map(str, cells))} |")
empty = count("empty")
lines += ["", f"Counted by callgrind, calls included (an empty one takes {empty}). The peers judge no address.",
          "The same at 64 and at 1,280 bytes wherever a packet is handled."]
table = "\n".join(lines)
print(table)
if len(sys.argv) > 2:
    pathlib.Path(sys.argv[2]).write_text(table + "\n")

compared = 0
for function, cases in counts.items():
    lengths = {case: number for case, number in cases.items() if case.startswith("bytes_")}
    compared += len(lengths) > 1
    if len(set(lengths.values())) > 1:
        wrong.append(f"{function} depends on the length of the packet: {lengths}")
if not compared:
    wrong.append("no operation was measured at two lengths")
sys.exit("\n".join(wrong) or 0)
