//! When bytes arrived, by the kernel: what delays the judge does not count against the client.

use std::io::{self, IoSliceMut};
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use fanfare_domain::clock::Clock;
use nix::sys::socket::sockopt::ReceiveTimestampns;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt};
use nix::sys::time::TimeSpec;
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Bytes asked for at once: more than most requests have.
const READ_BYTES: usize = 4 * 1024;
/// An older stamp is the work of a clock that was set.
const AGE_MAX: Duration = Duration::from_secs(5);

/// Has the kernel stamp what arrives on this connection.
pub(crate) fn stamp(stream: &TcpStream) {
    // Without stamps the time of reading counts, which is later or the same.
    let _ = setsockopt(stream, ReceiveTimestampns, &true);
}

/// Appends what has arrived to `buffer`; says how many bytes, none being the end, and when the last came.
pub(crate) async fn read(stream: &TcpStream, buffer: &mut BytesMut) -> io::Result<(usize, Instant)> {
    let before = buffer.len();
    buffer.resize(before + READ_BYTES, 0);
    let read = stream.async_io(Interest::READABLE, || receive(stream, &mut buffer[before..])).await;
    buffer.truncate(before + read.as_ref().map_or(0, |(bytes, _)| *bytes));
    read
}

fn receive(stream: &TcpStream, into: &mut [u8]) -> io::Result<(usize, Instant)> {
    let mut room = nix::cmsg_space!(TimeSpec);
    let mut parts = [IoSliceMut::new(into)];
    let message = recvmsg::<()>(stream.as_raw_fd(), &mut parts, Some(&mut room), MsgFlags::empty())?;
    let stamp = message.cmsgs()?.find_map(|part| match part {
        ControlMessageOwned::ScmTimestampns(at) => Some(Duration::from(at)),
        _ => None,
    });
    let now = Instant::now();
    let age = stamp.and_then(|at| Duration::from_micros(Clock::system().now_us() as u64).checked_sub(at));
    Ok((message.bytes, age.filter(|age| *age < AGE_MAX).map_or(now, |age| now - age)))
}
