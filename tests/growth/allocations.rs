//! What one device costs in allocations of memory, where there are 500 and where there are 5,000. They are the same on each
//! machine.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    fs,
    sync::Arc,
    time::Instant,
};

use chandler::{
    config::{self, Config},
    decide::{
        allocate::allocate,
        inventory::{Inventory, SCAN_INTERVAL},
    },
    discovery::ScanCache,
    model::{
        event::{Effect, Event, Scope},
        health::{Outcome, Reading, Round},
        name::{DeviceId, ResourceName},
        snapshot::Snapshot,
        state::Remembered,
    },
};

use super::{FEW, MANY};
use crate::{fixture::Fixture, inventory::list_of};

/// Counts what each thread asks for.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    static N_ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

#[expect(unsafe_code, reason = "an allocator is; this one only counts")]
// SAFETY: the system's does everything.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        N_ALLOCATIONS.set(N_ALLOCATIONS.get() + 1);
        // SAFETY: as we were called.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: as we were called, with what we got from it.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        N_ALLOCATIONS.set(N_ALLOCATIONS.get() + 1);
        // SAFETY: as we were called, with what we got from it.
        unsafe { System.realloc(ptr, layout, size) }
    }
}

/// How many allocations it takes.
fn counted<T>(what: impl FnOnce() -> T) -> (usize, T) {
    let before = N_ALLOCATIONS.get();
    let result = what();
    (N_ALLOCATIONS.get() - before, result)
}

/// How many there may be for each device in a scan and in what follows from it: its
/// texts, its node, the ids that it could have, what a container would get. There were 97 when this was written.
const N_SCAN_MAX: usize = 105;
/// The same of a round of probes in which nothing has changed.
const N_PROBE_MAX: usize = 1;

/// The part of the daemon that knows the devices, without its threads.
struct World {
    n: usize,
    fixture: Fixture,
    config: Config,
    cache: ScanCache,
    inventory: Inventory,
    now: Instant,
    listed: Option<Arc<Snapshot>>,
}

impl World {
    /// With `n` devices that were probed, listed and written down.
    fn new(n: usize) -> World {
        let text = "version: v1\nresources: [{ name: example.com/null, discovery: { nodes: [\"/dev/n*\"] } }]\n";
        let config = config::parse("c.yaml", text).unwrap();
        let nodes: String = (0..n).map(|it| format!("//- /dev/n{it} char\n")).collect();
        let inventory = Inventory::new(config.resources.clone(), SCAN_INTERVAL, 0);
        let (fixture, now) = (Fixture::new(&nodes), Instant::now());
        let cache = ScanCache::default();
        let mut world = World { n, fixture, config, cache, inventory, now, listed: None };
        world.apply(Event::Remembered(Remembered::new()));
        world.scan();
        world.probe();
        assert_eq!(world.listed.as_ref().unwrap().offers.len(), n);
        world
    }

    /// With a disk that takes no time.
    fn apply(&mut self, event: Event) {
        let mut effects = self.inventory.apply(event, self.now);
        while let Some(effect) = effects.pop() {
            if let Some(list) = list_of(&effect) {
                self.listed = Some(Arc::clone(list));
            }
            if let Effect::Remember(written) = effect {
                effects.extend(self.inventory.apply(Event::Stored(written), self.now));
            }
        }
    }

    fn scan(&mut self) {
        let resources = &self.config.resources;
        let scan = self.cache.scan(&self.fixture.host, resources, &Scope::All);
        self.apply(Event::Scanned(scan));
    }

    /// All devices work.
    fn round(&self) -> Round {
        let ids = (0..self.n).filter_map(|it| DeviceId::new(format!("n{it}")));
        let reading = |device| Reading { device, outcome: Outcome::default() };
        let resource = ResourceName::parse("example.com/null").unwrap();
        Round { resource, readings: ids.map(reading).collect() }
    }

    fn probe(&mut self) {
        let round = self.round();
        self.apply(Event::Probed(round));
    }
}

/// What a scan of everything, a round of probes and an allocation take.
fn costs(n: usize) -> (usize, usize, usize) {
    let mut world = World::new(n);
    fs::remove_file(world.fixture.real("/dev/n7")).unwrap();
    let (removal, ()) = counted(|| world.scan());
    let is_offered = |world: &World, id: &str| {
        world.listed.as_ref().unwrap().get(id).unwrap().health.is_offered()
    };
    assert!(!is_offered(&world, "n7") && is_offered(&world, "n8"));
    let round = world.round();
    let (probes, ()) = counted(|| world.apply(Event::Probed(round)));
    let list = Arc::clone(world.listed.as_ref().unwrap());
    let (allocation, edits) = counted(|| allocate(&list, &["n8".to_owned()]));
    assert_eq!(edits.unwrap().devices.len(), 1);
    eprintln!(
        "{n} devices: {removal} for a removal, {probes} for probes, {allocation} to allocate"
    );
    (removal, probes, allocation)
}

#[test]
fn allocations_of_memory_grow_as_devices_do_and_an_allocate_costs_the_same() {
    let (few, many) = (costs(FEW), costs(MANY));
    assert_eq!(few.2, many.2, "an allocation is of one device");
    for (n, (removal, probes, _)) in [(FEW, few), (MANY, many)] {
        assert!(removal <= n * N_SCAN_MAX, "a removal among {n}: {removal}");
        assert!(probes <= n * N_PROBE_MAX, "a round of probes of {n}: {probes}");
    }
}
