//! The power goes at random moments, again and again, while random things happen: the store is as the model says.

use super::model::{Action, Model};
use super::*;
use crate::store::disk::{AfterCrash, Fault};
use rand::RngExt as _;

/// Seeds in every test run. Each is about a dozen actions, four losses of power or failures, and the openings between.
const SEEDS: u64 = 300;
/// Small segments, so that some fill, die and are compacted within a few actions.
const SEGMENT_LEN: u64 = 300_000;

fn open_small(disk: &SimDisk, seed: u8) -> Result<Store, StoreError> {
    let options = StoreOptions { run: Run::Inline, seed: [seed; 32] };
    now(Store::open_with(Arc::new(disk.clone()), &key(), options, SEGMENT_LEN))
}

/// Opens what is there; now and then the power goes during that, too.
fn open_somehow(disk: &mut SimDisk, rng: &mut StdRng) -> Store {
    loop {
        let trial = disk.after_crash(AfterCrash::Kept);
        if rng.random_bool(0.3) {
            trial.fault_at(rng.random_range(0..30), Fault::Crash);
            drop(open_small(&trial, rng.random()));
            *disk = trial.after_crash(AfterCrash::Torn(rng.random()));
            continue;
        }
        *disk = trial;
        return open_small(disk, rng.random()).expect("a store opens after a loss of power");
    }
}

/// Does things until the power goes; the model as acknowledged, and as it would be with the action under way.
fn act(store: &Store, rng: &mut StdRng, mut model: Model) -> (Model, Model) {
    for _ in 0..12 {
        let action = Action::draw(rng, &model);
        let mut after = model.clone();
        action.apply(&mut after);
        if action.carry_out(store).is_err() {
            return (model, after);
        }
        model = after;
    }
    (model.clone(), model)
}

fn run_seed(seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut disk = SimDisk::new();
    now(create(&disk).close()).unwrap();
    let mut store = open_small(&disk, 3).unwrap();
    let mut model = Model::observe(&store).unwrap();
    for round in 0..4 {
        let fault = if rng.random_bool(0.4) { Fault::Eio } else { Fault::Crash };
        disk.fault_at(disk.operations() + rng.random_range(0..250), fault);
        let (acknowledged, under_way) = act(&store, &mut rng, model);
        drop(store);
        disk.clear_faults();
        store = match fault {
            // The machine runs on: what was not synced is still read, though it may never be kept.
            Fault::Eio => open_small(&disk, rng.random()).expect("a store opens after an error"),
            _ => {
                disk = disk.after_crash(AfterCrash::Torn(rng.random()));
                open_somehow(&mut disk, &mut rng)
            }
        };
        model = Model::observe(&store).unwrap();
        assert!(
            model == acknowledged || model == under_way,
            "seed {seed}, round {round}: not as acknowledged"
        );
    }
}

#[test]
fn after_every_loss_of_power_the_store_is_as_acknowledged() {
    for seed in 0..SEEDS {
        run_seed(seed);
    }
}

#[test]
fn a_long_quiet_life_is_as_the_model_says_and_leaves_no_garbage() {
    let disk = SimDisk::new();
    now(create(&disk).close()).unwrap();
    let mut rng = StdRng::seed_from_u64(1);
    let mut store = open_small(&disk, 3).unwrap();
    let mut model = Model::observe(&store).unwrap();
    for n in 0..300 {
        let action = Action::draw(&mut rng, &model);
        action.carry_out(&store).unwrap();
        action.apply(&mut model);
        if n % 100 == 99 {
            assert!(Model::observe(&store).unwrap() == model, "after action {n}");
            now(store.close()).unwrap();
            store = open_small(&disk, rng.random()).unwrap();
        }
    }
    while now(store.compact_step(100_000)).unwrap() != crate::store::Compacted::Idle {}
    assert!(Model::observe(&store).unwrap() == model, "after compaction");
    let files = |disk: &SimDisk| disk.list().unwrap().iter().filter(|name| name.starts_with("seg")).count();
    assert!(files(&disk) > 1, "segments filled");
    let live = now(store.read(|rx| crate::store::letters::segments(&rx.rows))).unwrap();
    assert!(live.values().all(|segment| segment.live * 2 >= segment.end || segment.end < 65_536), "{live:?}");
    for (no, _) in now(store.read(|rx| rx.mailboxes().list())).unwrap() {
        let all: Vec<Uid> = (1..2000).map(Uid).collect();
        now(store.write(move |tx| tx.messages().expunge(no, &all))).unwrap();
    }
    for (no, _, ()) in now(store.read(|rx| rx.queue().list())).unwrap() {
        now(store.write(move |tx| tx.queue().remove(no))).unwrap();
    }
    assert_eq!(files(&disk), 0, "nothing is kept of deleted letters");
}
