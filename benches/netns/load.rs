//! What is sent over a way, and what is counted.

use std::net::{Ipv6Addr, UdpSocket};
use std::time::{Duration, Instant};
use std::{env, fs};

use crate::lab::Pair;
use crate::{PATIENCE, Result};

/// How long each load lasts.
#[derive(Clone, Copy)]
pub struct Load {
    tcp_seconds: u32,
    udp_seconds: u32,
    pings: u32,
}

/// What one round of one variant has shown.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// One TCP stream, bits a second received.
    pub tcp: f64,
    /// Four TCP streams together, bits a second received.
    pub tcp4: f64,
    /// UDP datagrams of 64 bytes received a second, while the sender sends what it can.
    pub udp: f64,
    /// Round-trip time of an echo, the mean, in seconds.
    pub rtt: f64,
    /// Processor time of the whole machine for a byte of the one TCP stream, in seconds.
    pub cpu: f64,
    /// The IPv6 MTU of the way, in bytes.
    pub mtu: u32,
}

impl Load {
    /// What a figure is made of.
    pub const FULL: Load = Load { tcp_seconds: 3, udp_seconds: 2, pings: 2000 };
    /// Enough to see that it works.
    pub const QUICK: Load = Load { tcp_seconds: 2, udp_seconds: 1, pings: 100 };

    /// Sends all loads from A to an address of B. Each has to carry something.
    pub fn run(self, pair: &Pair, to: Ipv6Addr) -> Result<Figures> {
        let mut server = pair.b.start("iperf3", "-s -6")?;
        server.wait_until(|| pair.b.run("ss -Hltn sport = :5201").is_ok_and(|text| !text.is_empty()))?;
        let before = busy()?;
        let (tcp, bytes) = self.iperf3(pair, to, 1)?;
        let cpu = (busy()? - before) / bytes;
        let (tcp4, _) = self.iperf3(pair, to, 4)?;
        Ok(Figures { tcp, tcp4, rtt: self.ping(pair, to)?, udp: self.udp(pair, to)?, cpu, mtu: mtu(pair, to)? })
    }

    /// Bits a second and bytes that arrived.
    fn iperf3(self, pair: &Pair, to: Ipv6Addr, streams: u32) -> Result<(f64, f64)> {
        let text = pair.a.run(&format!("iperf3 -6 -J -c {to} -t {} -P {streams}", self.tcp_seconds))?;
        let report: serde_json::Value = serde_json::from_str(&text)?;
        let received = &report["end"]["sum_received"];
        match (received["bits_per_second"].as_f64(), received["bytes"].as_f64()) {
            (Some(rate), Some(bytes)) if bytes > 0.0 => Ok((rate, bytes)),
            _ => Err(format!("{streams} TCP streams carried nothing:\n{text}").into()),
        }
    }

    fn udp(self, pair: &Pair, to: Ipv6Addr) -> Result<f64> {
        let program = env::current_exe()?;
        let mut counter = pair.b.start(&program, &format!("count [{to}]:{PORT}"))?;
        let port = format!("ss -Hlun sport = :{PORT}");
        counter.wait_until(|| pair.b.run(&port).is_ok_and(|text| !text.is_empty()))?;
        pair.a.start(&program, &format!("flood [{to}]:{PORT} {}", self.udp_seconds))?.finish()?;
        let rate: f64 = counter.finish()?.trim().parse()?;
        if rate > 0.0 { Ok(rate) } else { Err("no UDP datagram arrived".into()) }
    }

    fn ping(self, pair: &Pair, to: Ipv6Addr) -> Result<f64> {
        let text = pair.a.run(&format!("ping -6 -n -q -f -c {} -w 20 {to}", self.pings))?;
        // rtt min/avg/max/mdev = 0.011/0.014/0.218/0.006 ms, …
        let times = text.split_once("min/avg/max/mdev = ").and_then(|(_, times)| times.split('/').nth(1)?.parse().ok());
        times.map(|mean: f64| mean / 1e3).ok_or_else(|| format!("no echo came back:\n{text}").into())
    }
}

/// The MTU of the device by which A sends there.
fn mtu(pair: &Pair, to: Ipv6Addr) -> Result<u32> {
    let route = pair.a.run(&format!("ip -6 route get {to}"))?;
    let device = route.split_once(" dev ").and_then(|(_, rest)| rest.split(' ').next()).ok_or("no route")?;
    Ok(pair.a.run(&format!("cat /sys/class/net/{device}/mtu"))?.trim().parse()?)
}

/// Seconds for which the processors of this machine have worked so far.
fn busy() -> Result<f64> {
    let stat = fs::read_to_string("/proc/stat")?;
    // cpu user nice system idle iowait irq softirq …, in hundredths of a second
    let line = stat.lines().next().ok_or("/proc/stat is empty")?;
    let ticks = line.split_whitespace().skip(1).enumerate().filter(|(at, _)| !matches!(at, 3 | 4 | 7..));
    Ok(ticks.filter_map(|(_, ticks)| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0)
}

const PORT: u16 = 5300;

/// Sends datagrams with 64 bytes as fast as the kernel takes them: the part of A.
pub fn flood(address: &str, seconds: &str) -> Result<()> {
    let socket = UdpSocket::bind("[::]:0")?;
    socket.connect(address)?;
    let end = Instant::now() + Duration::from_secs(seconds.parse()?);
    while Instant::now() < end {
        // Refused where a queue is full: that one is not counted by anybody.
        (0..64).for_each(|_| drop(socket.send(&[7; 64])));
    }
    Ok(())
}

/// Prints how many datagrams came a second, from the first to the last: the part of B.
pub fn count(address: &str) -> Result<()> {
    let socket = UdpSocket::bind(address)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut buffer = [0; 64];
    socket.recv(&mut buffer)?;
    socket.set_read_timeout(Some(Duration::from_millis(500)))?;
    let first = Instant::now();
    let (mut last, mut received) = (first, 0_u32);
    while socket.recv(&mut buffer).is_ok() {
        (last, received) = (Instant::now(), received + 1);
    }
    println!("{}", f64::from(received) / (last - first).as_secs_f64().max(1e-3));
    Ok(())
}
