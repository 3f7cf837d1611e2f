use super::*;
use crate::proto41_socket::Bound;
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
    write_for(rows, now, number, Expiry::NEVER);
}

fn write_for(rows: &mut TestRows, now: Instant, number: usize, until: Expiry) {
    let row = Path {
        life: Life::NONE,
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
    let question = (Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST, Bound::default());
    let way = (question, Ok(Way { interface: 2, mtu: 1500 }));
    let about = About { link, device: link, destination, peer, interfaces: [7, 2], way, until };
    rows.write(now, (key(number), row), 1, now, about).unwrap();
}

fn carry(rows: &mut TestRows, number: usize) {
    rows.table.rows.get_mut(&key(number)).unwrap().used.packets += 1;
}

/// The kernel's answers are as they were, and the driver has nothing to say.
fn collect(rows: &mut TestRows, now: Instant, most: usize) -> u64 {
    let mut sum = 0;
    let mut carried = |part: Carried| {
        sum += part.packets;
        None
    };
    rows.collect(now, 1, most, &mut carried, |_| Some(now));
    sum
}

fn is_there(rows: &TestRows, number: usize) -> bool {
    rows.table.rows.contains_key(&key(number))
}

#[test]
fn rows_that_carried_nothing_give_way_and_those_in_use_do_not() {
    let mut rows = TestRows::new(Kernel::default(), 16_384);
    (0..MOST).for_each(|number| write(&mut rows, at(0), number));
    // Nobody has looked at them yet: each may be in use.
    write(&mut rows, at(0), MOST);
    assert_eq!((rows.len(), rows.standing(at(0), &key(MOST), 1)), (MOST, Standing::New));
    // Half of them carry.
    (0..MOST).step_by(2).for_each(|number| carry(&mut rows, number));
    assert_eq!(collect(&mut rows, at(1), MOST), MOST as u64 / 2);
    // One has carried since it was looked at, which is still to be told.
    carry(&mut rows, 1);
    (0..1000).for_each(|new| write(&mut rows, at(1), MOST + new));
    assert_eq!((rows.len(), rows.table.rows.len()), (MOST, MOST));
    assert!((0..MOST).step_by(2).chain([1]).all(|number| is_there(&rows, number)), "one in use gave way");
    assert!((0..1000).all(|new| is_there(&rows, MOST + new)), "a new one found no room");
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
    let mut carried = |part| {
        told.push(part);
        None
    };
    rows.collect(at(40), 1, MOST, &mut carried, |_| None);
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
fn a_row_that_carries_is_renewed_without_a_packet() {
    let mut rows = TestRows::new(Kernel::default(), MOST);
    write(&mut rows, at(0), 1);
    let mut lives = Vec::new();
    for second in 1..300 {
        carry(&mut rows, 1);
        assert_eq!(collect(&mut rows, at(second), SLICE), 1);
        assert_eq!(rows.standing(at(second), &key(1), 1), Standing::Good);
        lives.push(rows.written[&key(1)].ends);
    }
    // Every 6 seconds, and what went by it goes on being counted.
    lives.dedup();
    assert_eq!(lives.len(), 50);
    assert_eq!(rows.table.rows[&key(1)].used.packets, 299);
    // After 5 minutes a packet is to be seen again.
    for second in 300..312 {
        carry(&mut rows, 1);
        collect(&mut rows, at(second), SLICE);
        if !is_there(&rows, 1) {
            assert_eq!(second, 304);
            return;
        }
    }
    panic!("it goes on for ever");
}

/// Packets that are not plain come to user space: a row is not written for each of them.
#[test]
fn a_row_by_which_nothing_goes_ends_after_10_seconds_and_is_not_written_before() {
    let mut rows = TestRows::new(Kernel::default(), MOST);
    let mut written = 0;
    for second in 0..100 {
        if rows.standing(at(second), &key(1), 1) != Standing::Good {
            written += 1;
            write(&mut rows, at(second), 1);
        }
        collect(&mut rows, at(second), SLICE);
    }
    assert_eq!(written, 10);
}

#[test]
fn a_quiet_flow_keeps_its_row() {
    for apart in 1..10 {
        let mut rows = TestRows::new(Kernel::default(), MOST);
        write(&mut rows, at(0), 1);
        for second in 1..200 {
            if second % apart == 0 {
                carry(&mut rows, 1);
            }
            collect(&mut rows, at(second), SLICE);
            assert!(is_there(&rows, 1), "{apart} seconds apart: {second}");
        }
    }
}

#[test]
fn a_row_is_renewed_for_as_long_as_the_driver_says_and_while_the_kernel_answers_as_before() {
    // The neighbor's answer is good for 7 seconds (SEC-1).
    let mut rows = TestRows::new(Kernel::default(), MOST);
    write_for(&mut rows, at(0), 1, Expiry::at(at(7)));
    for second in 1..7 {
        carry(&mut rows, 1);
        collect(&mut rows, at(second), SLICE);
        assert_eq!(rows.standing(at(second), &key(1), 1), Standing::Good);
    }
    assert_eq!(rows.standing(at(7), &key(1), 1), Standing::Void);
    collect(&mut rows, at(7), SLICE);
    assert!(!is_there(&rows, 1));
    // It has answered again.
    write_for(&mut rows, at(10), 1, Expiry::at(at(17)));
    carry(&mut rows, 1);
    rows.collect(at(16), 1, SLICE, &mut |_| Some(Expiry::at(at(40))), |_| Some(at(16)));
    assert_eq!(rows.standing(at(25), &key(1), 1), Standing::Good);
    assert_eq!(rows.standing(at(26), &key(1), 1), Standing::Void);
    // The answer of the kernel's is some seconds old.
    carry(&mut rows, 1);
    rows.collect(at(22), 1, SLICE, &mut |_| None, |_| Some(at(18)));
    assert_eq!(rows.standing(at(27), &key(1), 1), Standing::Good);
    assert_eq!(rows.standing(at(28), &key(1), 1), Standing::Void);
    // It is another one.
    carry(&mut rows, 1);
    rows.collect(at(27), 1, SLICE, &mut |_| None, |_| None);
    assert_eq!(rows.standing(at(28), &key(1), 1), Standing::Void);
    // Nothing makes a void one good.
    write(&mut rows, at(50), 1);
    carry(&mut rows, 1);
    rows.collect(at(51), 2, SLICE, &mut |_| None, |_| Some(at(51)));
    assert!(!is_there(&rows, 1));
}

#[test]
fn a_row_is_good_for_its_generation() {
    let mut rows = TestRows::new(Kernel::default(), MOST);
    assert_eq!(rows.standing(at(0), &key(1), 1), Standing::New);
    write(&mut rows, at(0), 1);
    assert_eq!(rows.standing(at(9), &key(1), 1), Standing::Good);
    assert_eq!(rows.standing(at(0), &key(1), 2), Standing::Void);
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

#[test]
fn a_driver_whose_share_shrinks_lets_go_of_what_carries_nothing() {
    let mut rows = TestRows::new(Kernel::default(), 100);
    (0..100).for_each(|number| write(&mut rows, at(0), number));
    rows.set_most(50);
    // Each may be in use.
    write(&mut rows, at(0), 100);
    assert_eq!((rows.len(), rows.standing(at(0), &key(100), 1)), (100, Standing::New));
    collect(&mut rows, at(1), MOST);
    (100..120).for_each(|number| write(&mut rows, at(1), number));
    assert_eq!((rows.len(), rows.table.rows.len()), (50, 50));
    assert!(rows.table.rows.contains_key(&key(119)));
    // And when it ends, of all: others write in the same table.
    let other = rows.table.rows[&key(119)];
    rows.table.rows.insert(key(1000), other);
    carry(&mut rows, 119);
    rows.clear();
    assert_eq!((rows.len(), rows.table.rows.len(), rows.of_peers.len(), rows.is_counted()), (0, 1, 0, false));
}
