use super::*;
use crate::resolve::interfaces::InterfaceAddress;

/// Links and a clock that moves by waiting alone.
struct Played<'p> {
    began: Instant,
    now: Instant,
    /// The answers to each question: milliseconds after it, the responder, and whether it has C set. They come in
    /// this order.
    answers: &'p [(u64, u8, bool)],
    asked: Vec<u8>,
    heard: usize,
    diary: Diary,
}

/// What was done, and when.
#[derive(Debug, Default)]
struct Diary {
    pauses: Vec<Duration>,
    sent: Vec<(Duration, Vec<u8>)>,
}

impl Links for Played<'_> {
    fn now(&self) -> Instant {
        self.now
    }

    fn pause(&mut self, time: Duration) {
        self.diary.pauses.push(time);
        self.now += time;
    }

    fn send(&mut self, bytes: &[u8], _: &Interface) -> io::Result<()> {
        self.diary.sent.push((self.now - self.began, bytes.to_vec()));
        // One that tells of a conflict asks nothing.
        if bytes[2] & 4 == 0 {
            (self.asked, self.heard) = (bytes.to_vec(), 0);
        }
        Ok(())
    }

    fn receive(&mut self, buffer: &mut [u8], until: Instant) -> io::Result<Option<Arrival>> {
        let asked_at = self.began + self.diary.sent.last().unwrap().0;
        let next = self.answers.get(self.heard).map(|(after, ..)| asked_at + Duration::from_millis(*after));
        let Some(at) = next.filter(|at| *at < until) else {
            self.now = until;
            return Ok(None);
        };
        self.now = self.now.max(at);
        let (_, last, is_shared) = self.answers[self.heard];
        self.heard += 1;
        let mut answer = self.asked[..2].to_vec();
        answer.extend([if is_shared { 0x84 } else { 0x80 }, 0, 0, 1, 0, 1, 0, 0, 0, 0]);
        answer.extend(&self.asked[12..24]);
        answer.extend([0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 30, 0, 4, 10, 0, 0, last]);
        buffer[..answer.len()].copy_from_slice(&answer);
        let from = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, last), 5355);
        Ok(Some(Arrival { length: answer.len(), from, interface: 2, to: Ipv4Addr::new(10, 0, 0, 2) }))
    }

    fn ask_by_tcp(&mut self, _: &[u8], _: Ipv4Addr, _: &Interface) -> io::Result<Vec<u8>> {
        unreachable!("no answer is cut")
    }
}

/// What came of it, what was done, and how long it took after the first question.
fn play(answers: &[(u64, u8, bool)]) -> (Result<Answered, Failure>, Diary, Duration) {
    let own = InterfaceAddress {
        address: Ipv4Addr::new(10, 0, 0, 2),
        mask: Ipv4Addr::new(255, 255, 255, 0),
        broadcast: None,
    };
    let interfaces = [Interface { name: "eth0".to_owned(), index: 2, is_multicast: true, addresses: vec![own] }];
    let began = Instant::now();
    let links = Played { began, now: began, answers, asked: Vec::new(), heard: 0, diary: Diary::default() };
    let mut question = Question::new(links, &interfaces, &"isatap".parse().unwrap()).unwrap();
    let said = question.ask(&mut Discards::default());
    let Played { now, diary, .. } = question.links;
    let took = now - began - diary.pauses[0];
    (said, diary, took)
}

fn address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, last)
}

#[test]
fn nam_22_it_is_asked_three_times_a_second_apart_and_each_time_after_a_random_wait() {
    let mut waits = Vec::new();
    for _ in 0..8 {
        let (said, diary, took) = play(&[]);
        assert_eq!(said, Err(Failure::NoSuchName));
        assert_eq!((diary.sent.len(), diary.pauses.len()), (3, 3));
        let between = diary.pauses[1] + diary.pauses[2];
        assert_eq!(took, Duration::from_secs(3) + between);
        // The same question each time.
        assert!(diary.sent.iter().all(|(_, bytes)| *bytes == diary.sent[0].1));
        waits.extend(diary.pauses);
    }
    assert!(waits.iter().all(|wait| *wait <= Duration::from_millis(100)), "{waits:?}");
    // Of 24 all are in one half once in 2^23 runs.
    assert!(waits.iter().any(|wait| *wait > Duration::from_millis(50)), "{waits:?}");
    assert!(waits.iter().any(|wait| *wait < Duration::from_millis(50)), "{waits:?}");
}

#[test]
fn nam_22_an_answer_at_the_end_of_the_second_is_heard_and_one_after_it_is_not() {
    let (said, diary, took) = play(&[(999, 1, false)]);
    assert_eq!((said.unwrap().heard.addresses, diary.sent.len()), (vec![address(1)], 1));
    // One that contradicts it has a tenth of a second to come.
    assert_eq!(took, Duration::from_millis(999 + 100));
    assert_eq!(play(&[(1001, 1, false)]).0, Err(Failure::NoSuchName));
}

#[test]
fn nam_22_answers_to_a_shared_name_are_collected_for_the_second_and_the_jitter() {
    let (said, diary, took) = play(&[(10, 1, true), (1099, 4, true), (1101, 5, true)]);
    let answered = said.unwrap();
    assert_eq!((answered.heard.addresses, answered.conflict), (vec![address(1), address(4)], None));
    assert_eq!((took, diary.sent.len()), (Duration::from_millis(1100), 1));
    // NAM-23: one that has the name to itself and those that share it contradict each other. The first holds, alone:
    // a later one with C set would take its place otherwise.
    for (c_of_first, c_of_others) in [(false, true), (true, false)] {
        let (said, _, took) = play(&[(10, 1, c_of_first), (50, 4, c_of_others), (1050, 5, true)]);
        let answered = said.unwrap();
        assert_eq!((answered.heard.addresses, answered.responder), (vec![address(1)], address(1)));
        assert_eq!(took, Duration::from_millis(1100));
        let conflict = answered.conflict.unwrap().to_string();
        assert_eq!(conflict, "10.0.0.1 says 10.0.0.1; 10.0.0.4 says 10.0.0.4; 10.0.0.5 says 10.0.0.5");
    }
}

#[test]
fn nam_23_the_first_of_two_answers_holds_and_the_link_is_told_of_both_once() {
    let (said, diary, took) = play(&[(10, 4, false), (90, 1, false), (111, 5, false)]);
    let answered = said.unwrap();
    assert_eq!((answered.heard.addresses, answered.responder), (vec![address(4)], address(4)));
    assert_eq!(answered.conflict.unwrap().to_string(), "10.0.0.1 says 10.0.0.1; 10.0.0.4 says 10.0.0.4");
    assert_eq!(took, Duration::from_millis(110));
    let told: Vec<_> = diary.sent.iter().filter(|(_, bytes)| bytes[2] & 4 != 0).collect();
    // C, one question, two records.
    assert!(matches!(told[..], [(_, bytes)] if bytes[2..12] == [4, 0, 0, 1, 0, 0, 0, 0, 0, 2]), "{told:02x?}");
}
