//! Captures, as `check` and `explain` read them.

use std::collections::BTreeMap;
use std::path::Path;

use isatap_std::capture::{Frame, IpPacket, NotIp, Reader, link_type_name};

use crate::exit::Failure;
use crate::output;

/// Gives each frame of the capture at `path`, with its IP packet or the reason why it has none.
/// Frames of a link type that is not understood are told of at the end: nothing can be said
/// about them.
///
/// # Errors
/// That of `each`; the capture cannot be read, or not to its end, or not all of it. All frames
/// in front of a fault have been given then.
pub(crate) fn each(
    path: &Path,
    mut each: impl FnMut(&Frame, Result<IpPacket<'_>, NotIp>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let name = if path.as_os_str() == "-" { "standard input".to_owned() } else { path.display().to_string() };
    let mut unread = BTreeMap::new();
    let mut fault = None;
    let mut is_empty = true;
    for frame in Reader::open(path)? {
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => {
                fault = Some(error.to_string());
                break;
            }
        };
        is_empty = false;
        match frame.packet() {
            Err(NotIp::LinkType(number)) => unread.entry(number).or_insert((frame.number, 0_u64)).1 += 1,
            packet => each(&frame, packet)?,
        }
    }
    if is_empty && fault.is_none() {
        output::say(format_args!("the capture {name} holds no packets"));
    }
    let unread = unread.into_iter().map(|(number, (first, count))| {
        let named = link_type_name(number).map_or(String::new(), |name| format!(" ({name})"));
        format!(
            "cannot read {count} packets of the capture {name}, the first is packet {first}: \
             link type {number}{named} is not understood; give a capture of a network device"
        )
    });
    let faults: Vec<String> = unread.chain(fault).collect();
    if faults.is_empty() { Ok(()) } else { Err(Failure::Usage(faults.join("; "))) }
}
