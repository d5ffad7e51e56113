//! Is there a lock daemon on this node? Locks of NFS version 3 need rpc.statd (program 100024) beside the kernel's lockd: without it
//! the kernel would mount, and each lock would hang or fail.
//!
//! The port mapper is asked as RFC 1833 (version 2, GETPORT) and RFC 5531 say, on this node.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

const PORT_MAPPER: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 111);
const TIMEOUT: Duration = Duration::from_millis(500);
const TRIES: u32 = 2;
const STATD: u32 = 100_024;
const UDP: u32 = 17;
const TCP: u32 = 6;

/// The port mapper of this node knows rpc.statd.
pub(crate) fn has_lock_daemon() -> bool {
    [UDP, TCP].into_iter().any(|protocol| port(PORT_MAPPER, STATD, 1, protocol).is_some_and(|port| port != 0))
}

fn call(id: u32, program: u32, version: u32, protocol: u32) -> Vec<u8> {
    // Call, RPC 2, port mapper 2, GETPORT; no credentials, no verifier; program, version, protocol, no port.
    let words = [id, 0, 2, 100_000, 2, 3, 0, 0, 0, 0, program, version, protocol, 0];
    words.into_iter().flat_map(u32::to_be_bytes).collect()
}

/// The port in an accepted, successful reply.
fn parse(reply: &[u8], id: u32) -> Option<u32> {
    let word = |at: usize| Some(u32::from_be_bytes(reply.get(at * 4..at * 4 + 4)?.try_into().ok()?));
    let verifier = usize::try_from(word(4)?).ok()?.div_ceil(4);
    let whole = word(0)? == id && word(1)? == 1 && word(2)? == 0 && verifier <= 100;
    (whole && word(5 + verifier)? == 0).then(|| word(6 + verifier)).flatten()
}

fn port(mapper: (Ipv4Addr, u16), program: u32, version: u32, protocol: u32) -> Option<u32> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
    socket.connect(mapper).ok()?;
    socket.set_read_timeout(Some(TIMEOUT)).ok()?;
    for id in 1..=TRIES {
        socket.send(&call(id, program, version, protocol)).ok()?;
        let mut reply = [0; 512];
        match socket.recv(&mut reply) {
            Ok(got) => {
                if let Some(port) = parse(&reply[..got], id) {
                    return Some(port);
                }
            }
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(id: u32, status: u32, port: u32) -> Vec<u8> {
        [id, 1, 0, 0, 0, status, port].into_iter().flat_map(u32::to_be_bytes).collect()
    }

    #[test]
    fn replies_are_understood_and_others_are_not() {
        assert_eq!(parse(&reply(7, 0, 662), 7), Some(662));
        assert_eq!(parse(&reply(8, 0, 662), 7), None, "of another call");
        assert_eq!(parse(&reply(7, 1, 662), 7), None, "not successful");
        for cut in 0..28 {
            assert_eq!(parse(&reply(7, 0, 662)[..cut], 7), None);
        }
    }

    #[test]
    fn a_mapper_is_asked() {
        let mapper = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let at = mapper.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let mut question = [0; 512];
            let (got, from) = mapper.recv_from(&mut question).unwrap();
            assert_eq!(question[..got], call(1, STATD, 1, UDP));
            mapper.send_to(&reply(1, 0, 32765), from).unwrap();
        });
        assert_eq!(port((Ipv4Addr::LOCALHOST, at), STATD, 1, UDP), Some(32765));
        server.join().unwrap();
        assert_eq!(port((Ipv4Addr::LOCALHOST, at), STATD, 1, UDP), None, "nobody there any more");
    }
}
