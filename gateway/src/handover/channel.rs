//! Packets with descriptors, between two processes of ours.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg,
    sendmsg, socketpair,
};

use super::{HandoverError, Message};

/// Largest packet. The system's default takes more than 200 KiB.
const MOST_BYTES: usize = 64 << 10;

/// Descriptors of one packet; the system takes up to 253 (`SCM_MAX_FD`).
pub(super) const MOST_DESCRIPTORS: usize = 64;

/// Two ends that keep the borders between packets, and whose reader sees when the writer is gone.
pub(super) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let ends = socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    Ok(ends)
}

pub(super) fn send(
    channel: impl AsFd,
    message: &Message,
    descriptors: &[BorrowedFd<'_>],
) -> Result<(), HandoverError> {
    let text = serde_json::to_vec(message).map_err(io::Error::other)?;
    if text.len() > MOST_BYTES || descriptors.len() > MOST_DESCRIPTORS {
        let what = format!(
            "{} bytes with {} descriptors are too much for one packet",
            text.len(),
            descriptors.len()
        );
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what).into());
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::other("no room for the descriptors").into());
    }
    let packet = [IoSlice::new(&text)];
    match sendmsg(channel, &packet, &mut control, SendFlags::NOSIGNAL) {
        Ok(_) => Ok(()),
        Err(rustix::io::Errno::PIPE | rustix::io::Errno::CONNRESET) => Err(HandoverError::Closed),
        Err(error) => Err(HandoverError::Io(error.into())),
    }
}

/// Receives one packet. Descriptors close with what is returned.
pub(super) fn receive(channel: impl AsFd) -> Result<(Message, Vec<OwnedFd>), HandoverError> {
    let mut text = vec![0; MOST_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(
        channel,
        &mut [IoSliceMut::new(&mut text)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    );
    let received = match received {
        Err(rustix::io::Errno::CONNRESET) => return Err(HandoverError::Closed),
        other => other.map_err(io::Error::from)?,
    };
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    if received.bytes == 0 {
        return Err(HandoverError::Closed);
    }
    if received
        .flags
        .intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC)
    {
        return Err(HandoverError::Unexpected("a cut off packet".to_owned()));
    }
    let message = serde_json::from_slice(&text[..received.bytes])
        .map_err(|error| HandoverError::Unexpected(error.to_string()))?;
    Ok((message, descriptors))
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Read, io::Write};

    use super::*;
    use crate::handover::{Legacy, Role};

    #[test]
    fn packets_arrive_whole_with_their_descriptors() {
        let (here, there) = pair().unwrap();
        let (mut reader, writer) = io::pipe().unwrap();
        let roles = vec![Role::Admin("127.0.0.1:1".to_owned()); MOST_DESCRIPTORS];
        let message = Message::Sockets { roles, last: true };
        send(&here, &message, &[writer.as_fd(); MOST_DESCRIPTORS]).unwrap();
        send(&here, &Message::Serving, &[]).unwrap();
        drop((here, writer));
        let (first, mut descriptors) = receive(&there).unwrap();
        assert_eq!((first, descriptors.len()), (message, MOST_DESCRIPTORS));
        let mut writer = File::from(descriptors.remove(0));
        writer.write_all(b"x").unwrap();
        assert_eq!(receive(&there).unwrap().0, Message::Serving);
        assert!(matches!(receive(&there), Err(HandoverError::Closed)));
        drop((writer, descriptors));
        let mut text = String::new();
        assert_eq!(reader.read_to_string(&mut text).unwrap(), 1);
    }

    /// What the other process may be: the version before, or the one after.
    #[test]
    fn messages_keep_their_form() {
        let roles = vec![
            Role::Admin("127.0.0.1:9180".to_owned()),
            Role::Control,
            Role::Lock,
            Role::Public("[::]:443".to_owned()),
        ];
        let legacy = Legacy::from([("tickets".to_owned(), vec![0, 255])]);
        let why = "no".to_owned();
        for (message, text) in [
            (
                Message::Ready { protocol: 1 },
                r#"{"ready":{"protocol":1}}"#,
            ),
            (
                Message::Sockets { roles, last: true },
                r#"{"sockets":{"roles":[{"admin":"127.0.0.1:9180"},"control","lock",{"public":"[::]:443"}],"last":true}}"#,
            ),
            (Message::Release, r#""release""#),
            (
                Message::Released { legacy },
                r#"{"released":{"legacy":{"tickets":[0,255]}}}"#,
            ),
            (Message::Serving, r#""serving""#),
            (Message::Failed { why }, r#"{"failed":{"why":"no"}}"#),
        ] {
            assert_eq!(serde_json::to_string(&message).unwrap(), text);
            assert_eq!(serde_json::from_str::<Message>(text).unwrap(), message);
        }
    }

    #[test]
    fn what_is_too_large_is_refused_and_what_is_no_message_too() {
        let (here, there) = pair().unwrap();
        let legacy = Legacy::from([("x".to_owned(), vec![255; MOST_BYTES])]);
        let message = Message::Released { legacy };
        assert!(matches!(
            send(&here, &message, &[]),
            Err(HandoverError::Io(_))
        ));
        rustix::net::send(&here, b"{}", SendFlags::empty()).unwrap();
        assert!(matches!(receive(&there), Err(HandoverError::Unexpected(_))));
        drop(there);
        assert!(matches!(
            send(&here, &Message::Serving, &[]),
            Err(HandoverError::Closed)
        ));
    }
}
