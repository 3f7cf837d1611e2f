use super::*;
use isatap_core::engine::Carried;
use std::collections::HashMap as Map;

/// The kernel's table, by which packets go when a test says so.
#[derive(Default)]
struct Kernel {
    rows: Map<PathKey, Path>,
    reads: std::cell::Cell<usize>,
}

impl Table<PathKey, Path> for Kernel {
    fn get(&self, key: &PathKey) -> Option<Path> {
        self.reads.set(self.reads.get() + 1);
        self.rows.get(key).copied()
    }

    fn insert(&mut self, key: PathKey, row: Path) -> io::Result<()> {
        self.rows.insert(key, row);
        Ok(())
    }

    fn remove(&mut self, key: &PathKey) {
        self.rows.remove(key);
    }
}

const MOST: usize = 16_384;

type TestRows = Rows<PathKey, Path, Kernel>;

const START: Instant = Instant::from_secs(1000);

fn at(seconds: u64) -> Instant {
    START.saturating_add(Duration::from_secs(seconds))
}

fn key(number: usize) -> PathKey {
    PathKey { source: [number as u64, 0], destination: [0; 2], device: 7 }
}

/// Ten rows are about one.
fn peer(number: usize) -> Ipv6Addr {
    Ipv6Addr::from_bits(number as u128 / 10 + 1)
}

fn write(rows: &mut TestRows, now: Instant, number: usize) {
    write_for(rows, now, number, Life { generation: 1, until: 0, renew: 0 });
}

fn write_for(rows: &mut TestRows, now: Instant, number: usize, life: Life) {
    let row = Path {
        life,
        used: Used::default(),
        outer_source: 0,
        outer_destination: 0,
        underlay: 2,
        mark: 0,
        mtu: 1480,
        tos: 0,
        tos_mask: 0,
        ttl: 64,
        unused: 0,
        ports: 0,
        unused_behind: 0,
    };
    let link = LinkId(1);
    let (destination, peer) = (Some(Ipv4Addr::LOCALHOST), peer(number));
    let about = About { link, device: link, destination, peer, interfaces: [7, 2], way: None };
    rows.write(now, key(number), row, about).unwrap();
}

fn carry(rows: &mut TestRows, number: usize) {
    rows.table.rows.get_mut(&key(number)).unwrap().used.packets += 1;
}

fn collect(rows: &mut TestRows, now: Instant, most: usize) -> u64 {
    let mut sum = 0;
    rows.collect(now, 1, most, &mut |part: Carried| sum += part.packets);
    sum
}

#[test]
fn rows_that_carried_nothing_give_way_and_those_in_use_do_not() {
    let mut rows = TestRows::new(Kernel::default(), 16_384);
    (0..MOST).for_each(|number| write(&mut rows, at(0), number));
    // Nobody has looked at them yet: each may be in use.
    write(&mut rows, at(0), MOST);
    assert_eq!((rows.len(), rows.wish(at(0), &key(MOST), 1)), (MOST, Wish::New));
    // Half of them carry.
    (0..MOST).step_by(2).for_each(|number| carry(&mut rows, number));
    assert_eq!(collect(&mut rows, at(1), MOST), MOST as u64 / 2);
    // One has carried since it was looked at, which is still to be told.
    carry(&mut rows, 1);
    (0..1000).for_each(|new| write(&mut rows, at(1), MOST + new));
    assert_eq!((rows.len(), rows.table.rows.len()), (MOST, MOST));
    let stays = |number: usize| rows.table.rows.contains_key(&key(number));
    assert!((0..MOST).step_by(2).chain([1]).all(stays), "one in use gave way");
    assert!((0..1000).all(|new| stays(MOST + new)), "a new one found no room");
    assert_eq!(collect(&mut rows, at(2), MOST), 1);
}

#[test]
fn what_went_by_a_row_is_told_whyever_it_is_removed() {
    // Since a way, a queue or a device has changed.
    let mut rows = TestRows::new(Kernel::default(), 16_384);
    (0..10).for_each(|number| write(&mut rows, at(0), number));
    carry(&mut rows, 1);
    assert_eq!(collect(&mut rows, at(1), MOST), 1);
    (0..10).for_each(|number| carry(&mut rows, number));
    rows.remove_if(|_| true);
    assert_eq!((rows.len(), rows.table.rows.len()), (0, 0));
    assert!(rows.is_counted(), "nobody would ask");
    let mut told = Vec::new();
    rows.collect(at(40), 1, MOST, &mut |part| told.push(part));
    let link = LinkId(1);
    let (destination, peer) = (Some(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST);
    // Some time after they were looked at.
    let each = Carried { link, device: link, destination, peer, since: at(1), packets: 1 };
    assert_eq!(told, vec![each; 10]);
    assert_eq!((rows.is_counted(), collect(&mut rows, at(2), MOST)), (false, 0));
    // To give way, since it is void.
    (0..MOST).for_each(|number| write(&mut rows, at(2), number));
    carry(&mut rows, 0);
    write(&mut rows, at(20), MOST);
    assert!(!rows.table.rows.contains_key(&key(0)));
    assert_eq!(collect(&mut rows, at(20), MOST), 1);
    // Since nothing goes by it any more.
    write(&mut rows, at(30), 0);
    carry(&mut rows, 0);
    (31..35).for_each(|second| write(&mut rows, at(second), 0));
    assert!(!rows.table.rows.contains_key(&key(0)));
    assert_eq!((collect(&mut rows, at(35), MOST), collect(&mut rows, at(36), MOST)), (1, 0));
}

#[test]
fn no_turn_looks_at_all_rows_and_each_is_looked_at() {
    let mut rows = TestRows::new(Kernel::default(), 16_384);
    (0..5000).for_each(|number| write(&mut rows, at(0), number));
    (0..5000).for_each(|number| carry(&mut rows, number));
    let mut told = 0;
    for _ in 0..5000_usize.div_ceil(SLICE) {
        rows.table.reads.set(0);
        told += collect(&mut rows, at(1), SLICE);
        assert!(rows.table.reads.get() <= SLICE);
    }
    assert_eq!(told, 5000);
    // Those that end are removed while it goes on.
    for _ in 0..5000_usize.div_ceil(SLICE) {
        collect(&mut rows, at(10), SLICE);
    }
    assert_eq!((rows.len(), rows.table.rows.len()), (0, 0));
}

#[test]
fn a_flow_by_whose_row_nothing_goes_is_left_to_user_space_for_a_minute() {
    let mut rows = TestRows::new(Kernel::default(), 16_384);
    let mut written = 0;
    for second in 0..120 {
        if rows.wish(at(second), &key(1), 1) != Wish::Nothing {
            written += 1;
            write(&mut rows, at(second), 1);
        }
        collect(&mut rows, at(second), SLICE);
    }
    // It was written in each of the 120 seconds.
    assert!((4..=12).contains(&written), "{written}");
    assert!(rows.table.rows.is_empty());
    // One that carries is renewed for ever.
    for second in 200..260 {
        assert_ne!(rows.wish(at(second), &key(2), 1), Wish::Nothing);
        write(&mut rows, at(second), 2);
        carry(&mut rows, 2);
    }
}

#[test]
fn a_quiet_flow_whose_packets_come_to_renew_its_row_keeps_it() {
    for apart in 5..10 {
        let mut rows = TestRows::new(Kernel::default(), 16_384);
        for number in 0..20 {
            let now = at(number * apart);
            assert_ne!(rows.wish(now, &key(1), 1), Wish::Nothing, "{apart} seconds apart");
            write(&mut rows, now, 1);
            collect(&mut rows, now, SLICE);
            assert!(rows.table.rows.contains_key(&key(1)), "{apart} seconds apart");
        }
    }
}

#[test]
fn a_flow_whose_rows_end_before_its_next_packet_is_not_left_to_user_space() {
    let mut rows = TestRows::new(Kernel::default(), 16_384);
    let renew = Duration::from_secs(5).as_nanos() as u64;
    // Good for 2 seconds, as the neighbor's answer is (SEC-1): the packets are 3 apart.
    let life = Life { generation: 1, until: Duration::from_secs(2).as_nanos() as u64, renew };
    for number in 0..20 {
        let now = at(number * 3);
        assert_ne!(rows.wish(now, &key(1), 1), Wish::Nothing);
        write_for(&mut rows, now, 1, life);
        assert!(rows.table.rows.contains_key(&key(1)));
    }
}

#[test]
fn a_row_is_renewed_as_long_as_it_is_known() {
    let mut rows = TestRows::new(Kernel::default(), 16_384);
    assert_eq!(rows.wish(at(0), &key(1), 1), Wish::New);
    write(&mut rows, at(0), 1);
    assert_eq!(rows.wish(at(0), &key(1), 1), Wish::Nothing);
    assert_eq!(rows.wish(at(1), &key(1), 1), Wish::Renewal);
    // Void by now.
    assert_eq!(rows.wish(at(0), &key(1), 2), Wish::Void);
    assert!(Wish::Void.is_rationed() && !Wish::Renewal.is_rationed());
    carry(&mut rows, 1);
    write(&mut rows, at(5), 1);
    assert_eq!(rows.table.rows[&key(1)].used.packets, 1, "it goes on being counted");
    assert_eq!((collect(&mut rows, at(6), 9), rows.len()), (1, 1));
    rows.remove_if(|about| about.interfaces.contains(&2));
    assert_eq!((rows.len(), rows.table.rows.len()), (0, 0));
}

#[test]
fn rows_about_one_peer_go_alone() {
    let mut rows = TestRows::new(Kernel::default(), 16_384);
    (0..10_000).for_each(|number| write(&mut rows, at(0), number));
    carry(&mut rows, 77);
    rows.table.reads.set(0);
    rows.remove_of(peer(77));
    assert_eq!((rows.len(), rows.table.rows.len(), rows.table.reads.get()), (9_990, 9_990, 10));
    assert!((0..10_000).all(|number| rows.table.rows.contains_key(&key(number)) != (70..80).contains(&number)));
    assert_eq!(collect(&mut rows, at(1), MOST), 1);
    // Whyever they went, nothing is kept of them.
    rows.remove_of(peer(77));
    collect(&mut rows, at(30), MOST);
    assert_eq!((rows.len(), rows.of_peers.len()), (0, 0));
}

/// Joined datagrams leave a flow to user space for a second: whoever sends some, the rest of it comes back.
#[test]
fn a_row_that_waits_for_joined_datagrams_is_not_laid_to_rest() {
    let mut rows = TestRows::new(Kernel::default(), 16_384);
    (0..10).for_each(|second| {
        write(&mut rows, at(second), 1);
        rows.table.rows.get_mut(&key(1)).unwrap().used.joined = second + 1;
    });
    assert_eq!(rows.wish(at(11), &key(1), 1), Wish::Renewal);
    // Nothing is joined any more, and still nothing goes by it.
    (11..15).for_each(|second| write(&mut rows, at(second), 1));
    assert!(!rows.table.rows.contains_key(&key(1)));
}
