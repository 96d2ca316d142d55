//! Chat rooms: every room is a service with a mailbox, on whatever node made it.
//!
//! Pure like the machines: it hears events and gives commands, so it runs in the simulator and behind a terminal alike.
//! A driver hands lines to [`App::on_request`] and shows what [`Rooms::take_heard`] gives:
//!
//! ```text
//! create general          stop general          join general          leave general
//! send general good day   rooms
//! ```

use super::parts::{join, number, split};
use bytes::Bytes;
use rumormill_core::{
    Address, App, AppCx, Command, CommandError, Event, Incarnation, Instant, MailboxId, News, NodeId,
    Question, Reply, Service, ServiceLoss, Token, Watch,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

/// The first part of the name of every room's service; the second is the room's own.
const ROOM: &[u8] = b"room";
/// What a member asks of a room.
const JOIN: &[u8] = b"join";
const LEAVE: &[u8] = b"leave";
/// What a room answers.
const DONE: &[u8] = b"done";
const ALREADY_JOINED: &[u8] = b"already joined";
/// How long a room may take to answer, in milliseconds. A guess.
const ANSWER_MS: u64 = 3_000;
/// How often a member makes sure that its rooms see things as it does, in milliseconds. A guess.
const ASSURE_MS: u64 = 4_000;
/// How often a room that cannot be reached is told that somebody has left. A guess.
const ASSURANCES_MAX: u32 = 15;
/// Things heard that wait to be shown; older ones make room. A guess.
const HEARD_MAX: usize = 1_000;
/// Rooms of one node, and members of one room, at most. Guesses.
const ROOMS_MAX: usize = 256;
/// Bytes of a room's name, and of what somebody says, at most. Guesses.
const NAME_LEN_MAX: usize = 64;
const TEXT_LEN_MAX: usize = 4_096;
const MEMBERS_MAX: usize = 4_096;

/// What a person at a node is told. Shown, it is one line.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each variant says what its fields are")]
pub enum Heard {
    /// Somebody said something in a room that this node has joined.
    Said { room: String, from: NodeId, text: String },
    /// A room is there from now on.
    Available { room: String, node: NodeId },
    /// A room is there no longer: it was stopped, or its node is gone.
    Left { room: String, node: NodeId },
    /// What was asked for a room is done.
    Done { what: &'static str, room: String },
    /// What was asked for a room was refused.
    Refused { room: String, because: RoomError },
    /// The answer to `rooms`.
    Rooms(Vec<(String, NodeId)>),
    /// A line that is none of those that are understood.
    NotUnderstood { line: String },
}

/// Why something was not done for a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoomError {
    /// There is no room of that name, as far as this node knows.
    RoomNotFound,
    /// This node is a member already.
    AlreadyJoined,
    /// A bound was reached.
    Full,
    /// This node has no mailbox yet.
    NotReady,
    /// The node refused the command behind it.
    Command(CommandError),
}

impl fmt::Display for RoomError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RoomNotFound => f.write_str("there is no such room"),
            Self::AlreadyJoined => f.write_str("you are a member already"),
            Self::Full => f.write_str("there is no place left"),
            Self::NotReady => f.write_str("this node is still starting"),
            Self::Command(error) => write!(f, "{error}"),
        }
    }
}

impl fmt::Display for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Said { room, from, text } => write!(f, "[{room}] <{from}> {text}"),
            Self::Available { room, node } => write!(f, "*** Room {room} available on {node}"),
            Self::Left { room, node } => write!(f, "*** Room {room} left {node}"),
            Self::Done { what, room } => write!(f, "{what} {room}: done"),
            Self::Refused { room, because } => write!(f, "{room}: {because}"),
            Self::Rooms(rooms) if rooms.is_empty() => f.write_str("no rooms"),
            Self::Rooms(rooms) => {
                let rooms: Vec<_> = rooms.iter().map(|(room, node)| format!("{room} on {node}")).collect();
                f.write_str(&rooms.join(", "))
            }
            Self::NotUnderstood { line } => {
                write!(f, "{line:?} is not understood; try create, stop, join, leave, send or rooms")
            }
        }
    }
}

/// What one could get wrong: to see that it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A room keeps members whose mailbox is gone.
    KeepsTheDead,
    /// A member goes on where it was, whatever becomes of the room.
    NeverAssures,
    /// A room whose node is gone stays on the list.
    ListsTheDead,
}

/// A room that this node hosts.
#[derive(Clone, Debug)]
pub struct Room {
    /// Its name.
    pub name: String,
    /// Who is in it, each with the monitor that tells when it is gone.
    pub members: BTreeMap<Address, Token>,
}

/// How this node stands to a room.
#[derive(Clone, Debug)]
struct Stand {
    room: String,
    /// Whether it wants to be in; else it wants the room to know that it is out.
    is_in: bool,
    /// How often it has tried to say so without an answer.
    tries: u32,
}

/// What the answer to a command is about.
#[derive(Clone, Debug)]
enum Pending {
    Post,
    Opened { room: String },
    Offered { room: String, mailbox: MailboxId },
    Monitor { room: MailboxId, member: Address },
    Join { at: Address, is_asked: bool },
    Leave { at: Address, is_asked: bool },
    Send { room: String },
}

/// Chat rooms on one node: those it hosts, and those it has joined.
#[derive(Clone, Debug, Default)]
pub struct Rooms {
    /// The mailbox by which this node is a member of rooms.
    post: Option<Address>,
    hosted: BTreeMap<MailboxId, Room>,
    stands: BTreeMap<Address, Stand>,
    /// The rooms that are told to be there, and where.
    listed: BTreeSet<(String, Address)>,
    pending: BTreeMap<Token, Pending>,
    heard: VecDeque<Heard>,
    /// Messages sent, to number them.
    sent: u64,
    /// The last number heard from each sender in each room.
    last: BTreeMap<(Address, Address), u64>,
    messages: u64,
    disorders: u64,
    due: Option<Instant>,
    bug: Option<Bug>,
}

/// Names the service of a room: a tuple, so that no other service is ever taken for a room.
pub fn service_name(room: &str) -> Bytes {
    join(&[ROOM, room.as_bytes()])
}

/// Reads the room behind the name of a service.
fn room_of(service: &Service) -> Option<(String, Address)> {
    let [tag, room] = split(&service.name)?[..] else { return None };
    let address = service.address().filter(|_| tag == ROOM)?;
    Some((String::from_utf8_lossy(room).into_owned(), address))
}

// --- what people ask

impl Rooms {
    /// Makes rooms with a mistake in them.
    pub fn with(bug: Bug) -> Self {
        Self { bug: Some(bug), ..Self::default() }
    }

    /// Makes a room on this node.
    pub fn create(&mut self, room: &str, cx: &mut AppCx<'_>) {
        if self.hosted.len() >= ROOMS_MAX {
            return self.refuse(room, RoomError::Full);
        }
        if let Err(error) = check_len(room, NAME_LEN_MAX) {
            return self.refuse(room, error);
        }
        self.ask(Command::OpenMailbox, Pending::Opened { room: room.into() }, cx);
    }

    /// Ends a room of this node.
    pub fn stop(&mut self, room: &str, cx: &mut AppCx<'_>) {
        let of_name = self.hosted.iter().find(|(_, hosted)| hosted.name == room);
        let Some(mailbox) = of_name.map(|(mailbox, _)| *mailbox) else {
            return self.refuse(room, RoomError::RoomNotFound);
        };
        cx.order(Command::Unregister { name: service_name(room), instance: 0 });
        self.close(mailbox, cx);
        self.hear(Heard::Done { what: "stop", room: room.into() });
    }

    /// Joins a room, wherever it is.
    pub fn join(&mut self, room: &str, cx: &mut AppCx<'_>) {
        let (Ok(at), Some(_)) = (find(room, cx), self.post) else {
            return self.refuse(room, self.post.map_or(RoomError::NotReady, |_| RoomError::RoomNotFound));
        };
        if self.stands.get(&at).is_some_and(|stand| stand.is_in) {
            return self.refuse(room, RoomError::AlreadyJoined);
        }
        self.stands.insert(at, Stand { room: room.into(), is_in: true, tries: 0 });
        self.assure(at, true, cx);
    }

    /// Leaves a room; twice is fine.
    pub fn leave(&mut self, room: &str, cx: &mut AppCx<'_>) {
        let mine: Vec<Address> =
            self.stands.iter().filter(|(_, stand)| stand.room == room).map(|(at, _)| *at).collect();
        if mine.is_empty() {
            return self.hear(Heard::Done { what: "leave", room: room.into() });
        }
        mine.into_iter().for_each(|at| self.step_out(at, true, cx));
    }

    /// Says something in a room, joined or not.
    pub fn send(&mut self, room: &str, text: &str, cx: &mut AppCx<'_>) {
        let (Ok(to), Some(post)) = (find(room, cx), self.post) else {
            return self.refuse(room, self.post.map_or(RoomError::NotReady, |_| RoomError::RoomNotFound));
        };
        if let Err(error) = check_len(text, TEXT_LEN_MAX) {
            return self.refuse(room, error);
        }
        self.sent += 1;
        let payload = join(&[&self.sent.to_le_bytes(), text.as_bytes()]);
        let command = Command::Send { from: post.mailbox, to, payload };
        self.ask(command, Pending::Send { room: room.into() }, cx);
    }

    /// Lists the rooms that are there as far as this node knows, and on which node.
    pub fn rooms(&self) -> Vec<(String, NodeId)> {
        self.listed.iter().map(|(room, at)| (room.clone(), at.node)).collect()
    }

    /// Hands over what was heard since the last time.
    pub fn take_heard(&mut self) -> impl Iterator<Item = Heard> {
        self.heard.drain(..)
    }
}

fn check_len(text: &str, max: usize) -> Result<(), RoomError> {
    let len = text.len();
    if len > max { Err(RoomError::Command(CommandError::TooLarge { len, max })) } else { Ok(()) }
}

fn find(room: &str, cx: &AppCx<'_>) -> Result<Address, RoomError> {
    cx.node.whereis(&service_name(room)).and_then(|it| it.address()).ok_or(RoomError::RoomNotFound)
}

// --- what properties look at

impl Rooms {
    /// Shows the mailbox by which this node is a member of rooms.
    pub fn post(&self) -> Option<Address> {
        self.post
    }

    /// Shows the rooms of this node.
    pub fn hosted(&self) -> impl Iterator<Item = (MailboxId, &Room)> {
        self.hosted.iter().map(|(mailbox, room)| (*mailbox, room))
    }

    /// Lists the rooms that this node believes to be a member of, by the address of each.
    pub fn joined(&self) -> impl Iterator<Item = (Address, &str)> {
        let joined = self.stands.iter().filter(|(_, stand)| stand.is_in && stand.tries == 0);
        joined.map(|(at, stand)| (*at, stand.room.as_str()))
    }

    /// Tells whether this node wants to be in a room, or is just telling it otherwise.
    pub fn stands_by(&self, at: Address) -> bool {
        self.stands.contains_key(&at)
    }

    /// Lists the rooms that were told to be there.
    pub fn listed(&self) -> &BTreeSet<(String, Address)> {
        &self.listed
    }

    /// Counts the messages heard.
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// Counts the messages that came twice, or after a later one of the same person in the same room.
    pub fn disorders(&self) -> u64 {
        self.disorders
    }
}

// --- the inside

impl Rooms {
    fn ask(&mut self, command: Command, pending: Pending, cx: &mut AppCx<'_>) {
        let token = cx.order(command);
        self.pending.insert(token, pending);
    }

    fn hear(&mut self, heard: Heard) {
        if self.heard.len() >= HEARD_MAX {
            self.heard.pop_front();
        }
        self.heard.push_back(heard);
    }

    fn refuse(&mut self, room: &str, because: RoomError) {
        self.hear(Heard::Refused { room: room.into(), because });
    }

    /// Ends a room. Whoever monitors its mailbox is told by the node.
    fn close(&mut self, mailbox: MailboxId, cx: &mut AppCx<'_>) {
        self.hosted.remove(&mailbox);
        cx.order(Command::CloseMailbox { mailbox });
    }

    /// Tells a room once more how this node stands to it.
    fn assure(&mut self, at: Address, is_asked: bool, cx: &mut AppCx<'_>) {
        let (Some(post), Some(stand)) = (self.post, self.stands.get_mut(&at)) else { return };
        stand.tries += 1;
        let (word, pending) = match stand.is_in {
            true => (JOIN, Pending::Join { at, is_asked }),
            false => (LEAVE, Pending::Leave { at, is_asked }),
        };
        let payload = join(&[word]);
        let command = Command::Call { from: post.mailbox, to: at, payload, timeout_ms: ANSWER_MS };
        self.ask(command, pending, cx);
    }

    fn step_out(&mut self, at: Address, is_asked: bool, cx: &mut AppCx<'_>) {
        if let Some(stand) = self.stands.get_mut(&at) {
            (stand.is_in, stand.tries) = (false, 0);
            self.assure(at, is_asked, cx);
        }
    }

    fn forget(&mut self, at: Address) {
        self.stands.remove(&at);
        self.last.retain(|(room, _), _| *room != at);
    }

    fn on_done(&mut self, pending: Pending, result: &Result<Reply, CommandError>, cx: &mut AppCx<'_>) {
        match (pending, result) {
            (Pending::Post, Ok(Reply::Opened { address })) => self.post = Some(*address),
            (Pending::Opened { room }, Ok(Reply::Opened { address })) => {
                let mailbox = address.mailbox;
                let (name, meta) = (service_name(&room), Bytes::new());
                let command = Command::Register { name, instance: 0, mailbox, meta, is_unique: true };
                self.ask(command, Pending::Offered { room, mailbox }, cx);
            }
            (Pending::Offered { room, mailbox }, Ok(_)) => {
                // The name may be of a room that this node has had already: the newer takes its place.
                let older = self.hosted.iter().find(|(_, hosted)| hosted.name == room).map(|(it, _)| *it);
                older.into_iter().for_each(|older| self.close(older, cx));
                self.hosted.insert(mailbox, Room { name: room.clone(), members: BTreeMap::new() });
                self.hear(Heard::Done { what: "create", room });
            }
            (Pending::Offered { room, mailbox }, Err(error)) => {
                cx.order(Command::CloseMailbox { mailbox });
                self.refuse(&room, RoomError::Command(*error));
            }
            (Pending::Monitor { room, member }, Err(_)) => self.drop_member(room, member),
            (Pending::Join { at, is_asked }, result) => self.on_joined(at, is_asked, result),
            (Pending::Leave { at, is_asked }, result) => self.on_left(at, is_asked, result),
            (Pending::Opened { room } | Pending::Send { room }, Err(error)) => {
                self.refuse(&room, RoomError::Command(*error));
            }
            (Pending::Post | Pending::Opened { .. } | Pending::Monitor { .. } | Pending::Send { .. }, _) => {}
        }
    }

    fn on_joined(&mut self, at: Address, is_asked: bool, result: &Result<Reply, CommandError>) {
        let Some(stand) = self.stands.get_mut(&at).filter(|stand| stand.is_in) else { return };
        let room = stand.room.clone();
        match result {
            Ok(Reply::Answer { payload }) if payload[..] == *DONE || payload[..] == *ALREADY_JOINED => {
                stand.tries = 0;
                let is_news = payload[..] == *DONE && is_asked;
                is_news.then(|| self.hear(Heard::Done { what: "join", room }));
            }
            // The room is full, or is no more: there is nothing to stand by.
            Ok(_) | Err(CommandError::Gone) => {
                self.forget(at);
                is_asked.then(|| self.refuse(&room, RoomError::RoomNotFound));
            }
            // It may have arrived: this node is in as soon as the room says so.
            Err(error) => {
                is_asked.then(|| self.refuse(&room, RoomError::Command(*error)));
            }
        }
    }

    fn on_left(&mut self, at: Address, is_asked: bool, result: &Result<Reply, CommandError>) {
        let Some(stand) = self.stands.get(&at).filter(|stand| !stand.is_in) else { return };
        let (room, is_over) = (stand.room.clone(), stand.tries >= ASSURANCES_MAX);
        if matches!(result, Ok(_) | Err(CommandError::Gone)) || is_over {
            self.forget(at);
        }
        is_asked.then(|| self.hear(Heard::Done { what: "leave", room }));
    }

    // --- as a room

    /// A member asks something of a room of this node.
    fn on_asked(&mut self, mailbox: MailboxId, question: Question, payload: &[u8], cx: &mut AppCx<'_>) {
        let Some(room) = self.hosted.get_mut(&mailbox) else { return };
        let member = question.from;
        let word = split(payload).and_then(|parts| parts.first().copied()).unwrap_or_default();
        let monitor = room.members.get(&member).copied();
        let answer: &[u8] = match (word, monitor) {
            (JOIN, Some(_)) => ALREADY_JOINED,
            (JOIN, None) if room.members.len() < MEMBERS_MAX => {
                let token = cx.order(Command::Monitor { mailbox, of: member });
                room.members.insert(member, token);
                self.pending.insert(token, Pending::Monitor { room: mailbox, member });
                DONE
            }
            (LEAVE, Some(monitor)) => {
                room.members.remove(&member);
                cx.order(Command::Demonitor { monitor });
                DONE
            }
            (LEAVE, None) => DONE,
            _ => b"",
        };
        cx.order(Command::Answer { question, payload: Bytes::copy_from_slice(answer) });
    }

    /// Hands what somebody says to everybody in the room.
    fn on_say(&mut self, mailbox: MailboxId, from: Address, payload: &[u8], cx: &mut AppCx<'_>) {
        let Some(room) = self.hosted.get(&mailbox) else { return };
        let Some([number, text]) = split(payload).and_then(|parts| <[&[u8]; 2]>::try_from(parts).ok()) else {
            return;
        };
        let lives = [from.incarnation.0.to_le_bytes(), from.mailbox.0.to_le_bytes()];
        let payload = join(&[&from.node.0, &lives[0], &lives[1], number, text]);
        for member in room.members.keys() {
            cx.order(Command::Send { from: mailbox, to: *member, payload: payload.clone() });
        }
    }

    fn drop_member(&mut self, room: MailboxId, member: Address) {
        if let Some(room) = self.hosted.get_mut(&room) {
            room.members.remove(&member);
        }
    }

    fn on_member_down(&mut self, monitor: Token, member: Address) {
        if self.bug == Some(Bug::KeepsTheDead) {
            return;
        }
        for room in self.hosted.values_mut() {
            room.members.retain(|it, token| *it != member || *token != monitor);
        }
    }

    // --- as a member

    fn on_said(&mut self, room: Address, payload: &[u8], cx: &mut AppCx<'_>) {
        let parts = split(payload).and_then(|parts| <[&[u8]; 5]>::try_from(parts).ok());
        let Some([node, incarnation, mailbox, count, text]) = parts else { return };
        let Ok(node) = node.try_into().map(NodeId) else { return };
        let from = Address {
            node,
            incarnation: Incarnation(number(incarnation)),
            mailbox: MailboxId(number(mailbox)),
        };
        let Some(stand) = self.stands.get(&room).filter(|stand| stand.is_in) else {
            // A room that takes this node for a member although it is none is told so.
            let is_told = self.stands.contains_key(&room);
            if !is_told {
                let out = Stand { room: String::new(), is_in: false, tries: 0 };
                self.stands.insert(room, out);
                self.assure(room, false, cx);
            }
            return;
        };
        let name = stand.room.clone();
        let last = self.last.insert((room, from), number(count));
        self.disorders += u64::from(last.is_some_and(|last| last >= number(count)));
        self.messages += 1;
        let text = String::from_utf8_lossy(text).into_owned();
        self.hear(Heard::Said { room: name, from: node, text });
    }

    fn on_news(&mut self, news: &News, cx: &mut AppCx<'_>) {
        match news {
            News::Services(services) => {
                self.listed.clear();
                services.iter().for_each(|service| self.on_available(service));
            }
            News::Registered(service) => self.on_available(service),
            // A room that is made anew under its name has another mailbox.
            News::Updated(service) => {
                let Some((room, at)) = room_of(service) else { return };
                let is_old = |it: &&(String, Address)| it.0 == room && it.1.node == at.node && it.1 != at;
                let old: Vec<_> = self.listed.iter().filter(is_old).cloned().collect();
                for (room, at) in old {
                    self.on_room_gone(room, at, true, cx);
                }
                self.on_available(service);
            }
            News::Unregistered(service) => self.on_unavailable(service, true, cx),
            News::Down { service, reason } if self.bug != Some(Bug::ListsTheDead) => {
                self.on_unavailable(service, *reason == ServiceLoss::Restarted, cx);
            }
            _ => {}
        }
    }

    fn on_available(&mut self, service: &Service) {
        let Some((room, at)) = room_of(service) else { return };
        if self.listed.insert((room.clone(), at)) {
            self.hear(Heard::Available { room, node: at.node });
        }
    }

    fn on_unavailable(&mut self, service: &Service, is_certain: bool, cx: &mut AppCx<'_>) {
        if let Some((room, at)) = room_of(service) {
            self.on_room_gone(room, at, is_certain, cx);
        }
    }

    /// A room is gone, or is out of reach: then it is told that this node is out, in case it is still there.
    fn on_room_gone(&mut self, room: String, at: Address, is_certain: bool, cx: &mut AppCx<'_>) {
        if self.listed.remove(&(room.clone(), at)) {
            self.hear(Heard::Left { room, node: at.node });
        }
        if self.bug == Some(Bug::NeverAssures) {
            return;
        }
        if is_certain {
            self.forget(at);
        } else if self.stands.get(&at).is_some_and(|stand| stand.is_in) {
            self.step_out(at, false, cx);
        }
    }

    /// Another node's room of the same name is older: this node's gives way to it.
    fn on_name_lost(&mut self, name: &Bytes, cx: &mut AppCx<'_>) {
        let lost = self.hosted.iter().find(|(_, room)| service_name(&room.name) == *name);
        if let Some(mailbox) = lost.map(|(mailbox, _)| *mailbox) {
            self.close(mailbox, cx);
        }
    }
}

impl App for Rooms {
    fn on_start(&mut self, cx: &mut AppCx<'_>) {
        self.ask(Command::OpenMailbox, Pending::Post, cx);
        cx.order(Command::Watch { what: Watch::Services { prefix: join(&[ROOM]) } });
        self.due = Some(cx.now.mono.plus_millis(ASSURE_MS));
    }

    fn on_event(&mut self, event: &Event, cx: &mut AppCx<'_>) {
        match event {
            Event::Done { token, result } => {
                if let Some(pending) = self.pending.remove(token) {
                    self.on_done(pending, result, cx);
                }
            }
            Event::Watched { news, .. } => self.on_news(news, cx),
            Event::Asked { mailbox, question, payload } => self.on_asked(*mailbox, *question, payload, cx),
            Event::Mail { mailbox, from, payload } => {
                if self.post.is_some_and(|post| post.mailbox == *mailbox) {
                    self.on_said(*from, payload, cx);
                } else {
                    self.on_say(*mailbox, *from, payload, cx);
                }
            }
            Event::MailboxDown { monitor, address, .. } => self.on_member_down(*monitor, *address),
            Event::NameLost { name, .. } => self.on_name_lost(name, cx),
            _ => {}
        }
    }

    fn on_request(&mut self, line: &str, cx: &mut AppCx<'_>) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match (word, rest.trim()) {
            ("rooms", "") => self.hear(Heard::Rooms(self.rooms())),
            ("create", room) if !room.is_empty() => self.create(room, cx),
            ("stop", room) if !room.is_empty() => self.stop(room, cx),
            ("join", room) if !room.is_empty() => self.join(room, cx),
            ("leave", room) if !room.is_empty() => self.leave(room, cx),
            ("send", rest) if rest.contains(' ') => {
                let (room, text) = rest.split_once(' ').unwrap_or((rest, ""));
                self.send(room, text, cx);
            }
            _ => self.hear(Heard::NotUnderstood { line: line.into() }),
        }
    }

    fn on_timeout(&mut self, cx: &mut AppCx<'_>) {
        self.due = Some(cx.now.mono.plus_millis(ASSURE_MS));
        if self.bug != Some(Bug::NeverAssures) {
            let stands: Vec<Address> = self.stands.keys().copied().collect();
            stands.into_iter().for_each(|at| self.assure(at, false, cx));
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }
}
