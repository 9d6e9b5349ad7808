//! Acknowledgements to clients whose address is not known.
//!
//! Each of them goes to the group of all clients, so one for each client of a turn would cost the
//! square of their number: they are joined before they leave. A role does not know which addresses
//! are known; its driver does, and calls this.

use super::message::{Message, RequestAck, Told};
use super::types::{NodeId, Role, To};

/// Joins those acknowledgements among `messages` that are for single clients of unknown address, as
/// many as `bytes` of a datagram hold. They come last.
pub fn gather_acks(
    messages: &mut Vec<(To, Message)>,
    bytes: usize,
    mut is_known: impl FnMut(NodeId) -> bool,
) {
    let is_alone = |(to, message): &&(To, Message)| {
        matches!((to, message), (To::Node(_), Message::RequestAck(_)))
    };
    // Mostly there is one at most.
    if messages.iter().filter(is_alone).nth(1).is_none() {
        return;
    }
    let mut gathered: Vec<(RequestAck, usize)> = Vec::new();
    messages.retain_mut(|(to, message)| {
        let (To::Node(node), Message::RequestAck(ack)) = (to, message) else { return true };
        if is_known(*node) {
            return true;
        }
        let more = ack.told.iter().map(Told::wire_bytes_max).sum::<usize>();
        match gathered.last_mut() {
            Some((last, held)) if is_alike(last, ack) && *held + more <= bytes => {
                last.told.append(&mut ack.told);
                *held += more;
            }
            Some(_) | None => {
                let told = std::mem::take(&mut ack.told);
                gathered.push((RequestAck { told, ..ack.clone() }, more));
            }
        }
        false
    });
    let group = To::Group(Role::Client);
    messages.extend(gathered.into_iter().map(|(ack, _)| (group, Message::RequestAck(ack))));
}

/// Whether two acknowledgements say the same of the leader.
fn is_alike(one: &RequestAck, other: &RequestAck) -> bool {
    let said = |ack: &RequestAck| (ack.quorate, ack.full, ack.grant, ack.decided_below);
    said(one) == said(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::types::{Instance, Session};

    fn ack(client: u32, quorate: bool) -> (To, Message) {
        let told = vec![Told::new(Session { client, boot: 1 }, true)];
        let to = To::Node(NodeId::new(Role::Client, client));
        let (full, grant, decided_below) = (false, 0, Instance(1));
        (to, Message::RequestAck(RequestAck { quorate, full, grant, decided_below, told }))
    }

    #[test]
    fn those_who_are_known_are_told_alone_and_the_others_together() {
        let most = Told::new(Session { client: 1, boot: 1 }, true).wire_bytes_max() * 3;
        let mut messages: Vec<_> = (1..=10).map(|client| ack(client, client != 9)).collect();
        gather_acks(&mut messages, most, |node| node.id % 5 == 0);
        let told: Vec<_> = messages
            .iter()
            .map(|(to, message)| {
                let Message::RequestAck(ack) = message else { panic!("{message}") };
                let clients = ack.told.iter().map(|told| told.session.client);
                (to.to_string(), ack.quorate, clients.collect::<Vec<_>>())
            })
            .collect();
        let row = |to: &str, quorate, clients: &[u32]| (to.to_owned(), quorate, clients.to_vec());
        let expected = [
            row("C5", true, &[5]),
            row("C10", true, &[10]),
            row("clients", true, &[1, 2, 3]),
            row("clients", true, &[4, 6, 7]),
            row("clients", true, &[8]),
            row("clients", false, &[9]),
        ];
        assert_eq!(told, expected);

        let mut one = vec![ack(1, true)];
        gather_acks(&mut one, most, |_| false);
        assert_eq!(one, [ack(1, true)], "its group is found without this");
    }
}
