//! Nodes in network namespaces, on a bridge that the test makes and removes: loss, a one-way cut, links that go down, a
//! host whose address changes. Needs root, `ip` and `nft`; a target of its own for that (`--features namespaces`).

mod processes;

use processes::{Nodes, Processes, SOON};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::Duration;

const NODES: usize = 5;
const PORT: u16 = 7_000;
/// Well above the time in which a node that is gone is missed.
const LONG: Duration = Duration::from_secs(8);

/// Runs a program and asserts that it succeeds.
fn run(line: &str) {
    let mut words = line.split_whitespace();
    let output = Command::new(words.next().expect("a program")).args(words).output();
    let output = output.unwrap_or_else(|error| panic!("{line}: {error}"));
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Namespaces on one bridge, gone with this value. The bridge stands in one of its own: the host's network is left alone.
struct Network {
    name: String,
    subnet: u8,
}

impl Network {
    fn new() -> Self {
        static SUBNETS: AtomicU8 = AtomicU8::new(1);
        let subnet = SUBNETS.fetch_add(1, Relaxed);
        let network = Self { name: format!("rumor-{}-{subnet}", std::process::id()), subnet };
        let hub = network.hub();
        run(&format!("ip netns add {hub}"));
        run(&format!("ip -n {hub} link add bridge type bridge"));
        run(&format!("ip -n {hub} link set bridge up"));
        (0..NODES).for_each(|node| network.add(node));
        network
    }

    fn add(&self, node: usize) {
        let (hub, space) = (self.hub(), self.space(node));
        run(&format!("ip netns add {space}"));
        run(&format!("ip -n {hub} link add port-{node} type veth peer name eth0 netns {space}"));
        run(&format!("ip -n {hub} link set port-{node} master bridge up"));
        run(&format!("ip -n {space} link set lo up"));
        run(&format!("ip -n {space} addr add {}/24 dev eth0", self.addr(node).ip()));
        run(&format!("ip -n {space} link set eth0 up"));
    }

    fn hub(&self) -> String {
        format!("{}-hub", self.name)
    }

    fn space(&self, node: usize) -> String {
        format!("{}-{node}", self.name)
    }

    fn addr(&self, node: usize) -> SocketAddr {
        (Ipv4Addr::new(10, 77, self.subnet, 10 + node as u8), PORT).into()
    }

    fn change_addr(&self, node: usize, old: &str, new: &str) {
        let space = self.space(node);
        run(&format!("ip -n {space} addr del {old}/24 dev eth0")); // first: secondary addresses go with the primary
        run(&format!("ip -n {space} addr add {new}/24 dev eth0"));
    }

    /// Starts a node in each namespace, and waits until all know all.
    fn start(&self, test: &'static str) -> Processes {
        let wrapper = |node| format!("ip netns exec {}", self.space(node));
        let wrappers = (0..NODES).map(|node| wrapper(node).split(' ').map(String::from).collect());
        Processes::start(test, (0..NODES).map(|node| self.addr(node)).collect(), wrappers.collect())
    }

    /// Drops what comes to a node, where an expression of nftables matches.
    fn drop_incoming(&self, node: usize, matching: &str) {
        let nft = format!("ip netns exec {} nft", self.space(node));
        run(&format!("{nft} add table inet cut"));
        run(&format!("{nft} add chain inet cut in {{ type filter hook input priority 0 ; }}"));
        run(&format!("{nft} add rule inet cut in {matching} drop"));
    }

    /// Lets everything through to a node again.
    fn heal(&self, node: usize) {
        run(&format!("ip netns exec {} nft delete table inet cut", self.space(node)));
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for space in (0..NODES).map(|node| self.space(node)).chain([self.hub()]) {
            let _ = Command::new("ip").args(["netns", "del", &space]).status();
        }
    }
}

/// Asserts that what each node has offered and offers from now on is found by all.
fn all_find_all(cluster: &mut Processes, when: &str) {
    let offer = |number: usize| format!("{when}-{number}");
    cluster.nodes.iter_mut().for_each(|(number, node)| node.offer(&offer(*number)));
    cluster.until(SOON, when, |nodes| {
        let first = nodes.values().map(|it| it.service.clone());
        let all: Vec<String> = first.chain((0..NODES).map(offer)).collect();
        nodes.values().all(|it| all.iter().all(|service| it.told.services.contains_key(service)))
    });
}

fn nobody_is_missed(nodes: &Nodes) -> bool {
    nodes.values().all(|it| it.told.down.is_empty())
}

#[test]
fn a_network_that_loses_packets_loses_no_node() {
    if processes::is_node() {
        return;
    }
    let network = Network::new();
    let mut cluster = network.start("a_network_that_loses_packets_loses_no_node");
    (0..NODES).for_each(|node| network.drop_incoming(node, "numgen random mod 100 < 5"));
    all_find_all(&mut cluster, "lossy");
    cluster.throughout(LONG, "that nobody is missed", nobody_is_missed);
}

#[test]
fn a_one_way_cut_removes_nobody_and_heals() {
    if processes::is_node() {
        return;
    }
    let network = Network::new();
    let mut cluster = network.start("a_one_way_cut_removes_nobody_and_heals");
    network.drop_incoming(1, &format!("ip saddr {} udp dport {PORT}", network.addr(0).ip()));
    cluster.throughout(LONG, "that nobody is missed", nobody_is_missed);
    all_find_all(&mut cluster, "cut");
    network.heal(1);
    all_find_all(&mut cluster, "healed");
    assert!(nobody_is_missed(&cluster.nodes));
}

#[test]
fn a_host_whose_link_is_down_for_three_seconds_is_back_soon() {
    if processes::is_node() {
        return;
    }
    let network = Network::new();
    let mut cluster = network.start("a_host_whose_link_is_down_for_three_seconds_is_back_soon");
    // Three seconds may be enough for a verdict about the host itself, but about nobody else.
    let others_are_there = |nodes: &Nodes| {
        let mut others = nodes.iter().filter(|(number, _)| **number != 2);
        others.all(|(_, it)| it.told.down.keys().all(|missed| *missed == nodes[&2].service))
    };
    run(&format!("ip -n {} link set port-2 down", network.hub()));
    cluster.throughout(Duration::from_secs(3), "that only the host is missed", others_are_there);
    run(&format!("ip -n {} link set port-2 up", network.hub()));
    all_find_all(&mut cluster, "up-again");
    assert!(others_are_there(&cluster.nodes));
}

#[test]
fn a_host_that_changes_its_address_stays_in_touch() {
    if processes::is_node() {
        return;
    }
    let network = Network::new();
    let mut cluster = network.start("a_host_that_changes_its_address_stays_in_touch");
    let (old, new) = (network.addr(3).ip().to_string(), format!("10.77.{}.200", network.subnet));
    network.change_addr(3, &old, &new);
    all_find_all(&mut cluster, "moved");
    network.change_addr(3, &new, &old);
    all_find_all(&mut cluster, "moved-back");
}
