//! Asking WINS servers, and everybody on a link (NAM-31).

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::Instant;

use super::{
    LINK_TIMEOUT, LINK_TRIES, LONGEST_WAIT, NetbiosName, PORT, Reply, SERVER_TIMEOUT, SERVER_TRIES, query, reply,
};
use crate::resolve::client::{random_id, remaining};
use crate::resolve::discard::{Discard, Discards};
use crate::resolve::interfaces::Interface;
use crate::resolve::link_socket::LinkSocket;
use crate::resolve::{Answered, Conflict, Failure, Heard};

/// The most that RFC 1002 §4.2.1 has in one datagram is 576 bytes; larger ones are read as well.
const LARGEST: usize = 2048;
/// Datagrams that are not the answer, before a server is given up.
const MAX_STRAY: usize = 64;

/// Asks the servers in order. The first that has the name or knows that there is none decides; one that
/// cannot tell does not.
pub(in crate::resolve) fn ask_wins(
    servers: &[Ipv4Addr],
    name: &NetbiosName,
    discards: &mut Discards,
) -> Result<(Heard, Ipv4Addr), Failure> {
    let mut worst = Failure::Unreachable;
    for server in servers {
        match ask_server(*server, name, discards) {
            Err(failure) if failure.keeps_routers() => worst = worst.max(failure),
            decided => return decided,
        }
    }
    Err(worst)
}

/// Asks one server, and once the one that it names instead (NAM-62).
fn ask_server(server: Ipv4Addr, name: &NetbiosName, discards: &mut Discards) -> Result<(Heard, Ipv4Addr), Failure> {
    let mut asked = server;
    for _ in 0..2 {
        let said = exchange(asked, name, discards).map_err(|error| match error.kind() {
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Failure::Timeout,
            _ => Failure::Unreachable,
        })?;
        match said {
            Some(Reply::Addresses { addresses, ttl }) => return Ok((Heard { addresses, ttl }, asked)),
            Some(Reply::NoSuchName) => return Err(Failure::NoSuchName),
            Some(Reply::ServerFailure) => return Err(Failure::ServerFailure),
            Some(Reply::Redirect(other)) => asked = other,
            Some(Reply::Wait(_)) | None => break,
        }
    }
    Err(Failure::BadAnswer)
}

/// What a server says at last; `None`: only what is no answer.
fn exchange(server: Ipv4Addr, name: &NetbiosName, discards: &mut Discards) -> io::Result<Option<Reply>> {
    let id = random_id()?;
    let question = query(id, name, false);
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    // Connected: the kernel drops what does not come from the server's address and port.
    socket.connect((server, PORT))?;
    let (mut buffer, mut strays, mut is_waiting) = ([0; LARGEST], 0, false);
    for _ in 0..SERVER_TRIES {
        socket.send(&question)?;
        let mut until = Instant::now() + SERVER_TIMEOUT;
        while let Ok(left) = remaining(until) {
            socket.set_read_timeout(Some(left))?;
            let length = match socket.recv(&mut buffer) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => break,
                Err(error) => return Err(error),
            };
            match reply(buffer.get(..length).unwrap_or_default(), id, name) {
                // The server works on it: it is not asked again meanwhile. It may say so once.
                Ok(Reply::Wait(time)) if !is_waiting => {
                    is_waiting = true;
                    until = Instant::now() + time.clamp(SERVER_TIMEOUT, LONGEST_WAIT);
                }
                Ok(Reply::Wait(_)) => {}
                Ok(said) => return Ok(Some(said)),
                Err(reason) => {
                    discards.count(reason);
                    strays += 1;
                    if strays >= MAX_STRAY {
                        return Ok(None);
                    }
                }
            }
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

/// Asks by broadcast on each of the interfaces; the first answer wins.
pub(in crate::resolve) fn ask_broadcast(
    interfaces: &[Interface],
    name: &NetbiosName,
    discards: &mut Discards,
) -> Result<Answered, Failure> {
    let unreachable = |_: io::Error| Failure::Unreachable;
    let id = random_id().map_err(unreachable)?;
    let question = query(id, name, true);
    let socket = LinkSocket::open(0).map_err(unreachable)?;
    let (mut buffer, mut is_sent) = ([0; LARGEST], false);
    for _ in 0..LINK_TRIES {
        for interface in interfaces {
            for (from, to) in interface.broadcasts() {
                is_sent |= socket.send(&question, SocketAddrV4::new(to, PORT), from, interface.index).is_ok();
            }
        }
        if !is_sent {
            return Err(Failure::Unreachable);
        }
        let until = Instant::now() + LINK_TIMEOUT;
        let mut answers: Vec<Answer<'_>> = Vec::new();
        for _ in 0..MAX_STRAY {
            let Some(arrival) = socket.receive(&mut buffer, until).map_err(unreachable)? else { break };
            let from = *arrival.from.ip();
            let here = interfaces.iter().find(|interface| interface.index == arrival.interface);
            let heard = match here.filter(|here| here.is_on_link(from)) {
                None => Err(Discard::OffLink),
                Some(_) if arrival.from.port() != PORT => Err(Discard::WrongPort),
                Some(here) => match reply(buffer.get(..arrival.length).unwrap_or_default(), id, name) {
                    Ok(Reply::Addresses { addresses, ttl }) => {
                        Ok(Answer { heard: Heard { addresses, ttl }, from, here })
                    }
                    // Only a server may say so.
                    Ok(_) => Err(Discard::ErrorCode),
                    Err(reason) => Err(reason),
                },
            };
            match heard {
                Ok(answer) => answers.push(answer),
                Err(reason) => discards.count(reason),
            }
        }
        if let Some(answered) = settle(answers, discards) {
            return Ok(answered);
        }
    }
    Err(Failure::NoSuchName)
}

/// A sound answer, and whence it came.
struct Answer<'i> {
    heard: Heard,
    from: Ipv4Addr,
    here: &'i Interface,
}

/// The first of several answers; `None`: there is none. NAM-33: those that say something else are counted, and on the
/// same link they contradict it: a name is unique on a link.
fn settle(answers: Vec<Answer<'_>>, discards: &mut Discards) -> Option<Answered> {
    let first = answers.first()?;
    let of_link = || answers.iter().filter(|answer| answer.here == first.here);
    // Servers of names rotate their records.
    let addresses = |answer: &Answer<'_>| answer.heard.addresses.iter().copied().collect::<BTreeSet<_>>();
    let said_first = addresses(first);
    let others = of_link().filter(|answer| addresses(answer) != said_first).count();
    (0..others).for_each(|_| discards.count(Discard::Conflicting));
    let said = || of_link().map(|answer| (answer.from, answer.heard.addresses.as_slice()));
    let conflict = (others > 0).then(|| Conflict::between(&first.here.name, said()));
    let (responder, interface) = (first.from, first.here.name.clone());
    let heard = answers.into_iter().next()?.heard;
    Some(Answered { heard, responder, interface, conflict })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolve::interfaces::InterfaceAddress;

    fn interface(index: u8) -> Interface {
        let address = Ipv4Addr::new(10, 0, index, 2);
        let own = InterfaceAddress { address, mask: Ipv4Addr::new(255, 255, 255, 0), broadcast: None };
        Interface { name: format!("eth{index}"), index: index.into(), is_multicast: true, addresses: vec![own] }
    }

    fn answer(here: &Interface, from: u8, says: u8) -> Answer<'_> {
        let on_link = |last| Ipv4Addr::new(10, 0, here.address().octets()[2], last);
        let heard = Heard { addresses: vec![on_link(says)], ttl: None };
        Answer { heard, from: on_link(from), here }
    }

    #[test]
    fn nam_33_the_first_answer_wins_and_others_of_its_link_contradict_it() {
        let [eth0, eth1] = [interface(0), interface(1)];
        let settled = |answers| {
            let mut discards = Discards::default();
            let answered = settle(answers, &mut discards).unwrap();
            let counted: Vec<_> = discards.iter().collect();
            (answered.heard.addresses, answered.conflict.map(|conflict| conflict.to_string()), counted)
        };
        let first = vec![Ipv4Addr::new(10, 0, 0, 4)];
        let (heard, conflict, counted) = settled(vec![answer(&eth0, 4, 4), answer(&eth0, 1, 1)]);
        assert_eq!((heard, counted), (first.clone(), vec![(Discard::Conflicting, 1)]));
        assert_eq!(conflict.as_deref(), Some("10.0.0.1 says 10.0.0.1; 10.0.0.4 says 10.0.0.4"));
        // Who says the same, and who has the name on another link, contradicts nobody.
        let answers = vec![answer(&eth0, 4, 4), answer(&eth0, 1, 4), answer(&eth1, 1, 1)];
        assert_eq!(settled(answers), (first, None, Vec::new()));
        // Nor who says it in another order.
        let [mut two, mut turned] = [answer(&eth0, 4, 4), answer(&eth0, 1, 1)];
        two.heard.addresses.push(Ipv4Addr::new(10, 0, 0, 1));
        turned.heard.addresses.push(Ipv4Addr::new(10, 0, 0, 4));
        let heard = two.heard.addresses.clone();
        assert_eq!(settled(vec![two, turned]), (heard, None, Vec::new()));
        assert_eq!(settle(Vec::new(), &mut Discards::default()), None);
    }
}
