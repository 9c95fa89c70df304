//! Who runs next, who wakes where, and what moves: each rule on a machine that shows it.

use super::*;
use crate::lifecycle::actor;

const TICK_NS: u64 = 4_000_000;

fn machine(cpus: usize, fair: Fair) -> Machine {
    let mut machine = Machine::new(cpus);
    (machine.scheduler.fair, machine.scheduler.slice_ns) = (fair, 1_400_000);
    (machine.scheduler.switch_ns, machine.scheduler.idle_exit_ns) = (0, 0);
    machine
}

/// As many actors, on the CPUs as far as there are any.
fn running(machine: &Machine, actors: u16) -> Scheduler<'_> {
    let mut sched = Scheduler::new(machine, (0..actors).map(|i| actor::APP + i), 0);
    sched.fill(0);
    sched
}

/// The actor on CPU `c` works for so long, in steps of 10 us; whether it lost the CPU, or another CPU got an actor.
fn work(sched: &mut Scheduler<'_>, c: usize, ns: u64) -> bool {
    let until_ns = sched.cpus[c].now_ns + ns;
    while sched.cpus[c].now_ns < until_ns {
        let seat = sched.cpus[c].seat.expect("an actor");
        sched.charge(c, seat, (until_ns - sched.cpus[c].now_ns).min(10_000));
        if sched.resched(c, true) {
            return true;
        }
    }
    false
}

/// The actor on CPU `c` sleeps for good, and the next of its queue takes over.
fn sleep(sched: &mut Scheduler<'_>, c: usize) {
    sched.block(c, Place::Blocked, u64::MAX);
    sched.next(c, sched.cpus[c].now_ns);
}

/// On one CPU the first of two ran so long and slept while the second ran so long, and wakes: how far it is behind, and whether it
/// takes the CPU.
fn after_a_sleep(fair: Fair, first_ns: u64, second_ns: u64) -> (i64, bool) {
    let machine = machine(1, fair);
    let mut sched = running(&machine, 2);
    work(&mut sched, 0, first_ns);
    sleep(&mut sched, 0);
    sched.charge(0, 1, second_ns);
    assert!(!sched.wake(0, sched.cpus[0].now_ns, None), "no CPU is idle");
    (sched.tasks[1].vruntime - sched.tasks[0].vruntime, sched.cpus[0].need_resched)
}

#[test]
fn sleeping_earns_a_slice_under_cfs_and_under_eevdf_what_the_other_has_run_since_its_time_was_accounted() {
    assert_eq!(after_a_sleep(Fair::Cfs, 1_000, 10_000_000), (1_400_000, true));
    assert_eq!(after_a_sleep(Fair::Eevdf, 1_000, 100_000), (99_000, true));
}

#[test]
fn a_tick_takes_who_slept_ahead_from_the_queue_and_it_has_nothing_of_its_sleep() {
    let machine = machine(1, Fair::Eevdf);
    let mut sched = running(&machine, 2);
    work(&mut sched, 0, 20_000);
    sleep(&mut sched, 0);
    assert_eq!(sched.tasks[0].place, Place::Late);
    work(&mut sched, 0, TICK_NS + 500_000);
    assert_eq!(sched.tasks[0].place, Place::Blocked);
    sched.wake(0, sched.cpus[0].now_ns, Some(0));
    assert_eq!(sched.vruntime(0), sched.vruntime(1));
}

#[test]
fn who_owes_nothing_takes_the_cpu_if_a_slice_is_over_since_the_tick_and_else_waits_for_the_next() {
    for (after_tick_ns, at_once) in [(1_000_000, false), (1_500_000, true), (3_500_000, true)] {
        let machine = machine(1, Fair::Eevdf);
        let mut sched = running(&machine, 2);
        sleep(&mut sched, 0);
        work(&mut sched, 0, 2 * TICK_NS + after_tick_ns);
        sched.wake(0, sched.cpus[0].now_ns, Some(0));
        sched.resched(0, true);
        assert_eq!(sched.cpus[0].seat == Some(0), at_once, "{after_tick_ns} ns after a tick");
        if !at_once {
            work(&mut sched, 0, TICK_NS);
            assert_eq!((sched.cpus[0].seat, sched.cpus[0].now_ns), (Some(0), 3 * TICK_NS));
        }
    }
}

#[test]
fn who_sleeps_ahead_is_ahead_until_the_others_have_caught_up() {
    let (behind_ns, takes) = after_a_sleep(Fair::Eevdf, 50_000, 10_000);
    assert!(behind_ns == -40_000 && !takes, "{behind_ns} ns");
}

#[test]
fn who_waited_for_a_cpu_keeps_what_it_is_owed_while_it_sleeps() {
    let machine = machine(1, Fair::Eevdf);
    let mut sched = running(&machine, 2);
    assert!(work(&mut sched, 0, 2 * TICK_NS), "a tick");
    assert_eq!((sched.cpus[0].seat, sched.cpus[0].now_ns), (Some(1), TICK_NS));
    for _ in 0..10 {
        work(&mut sched, 0, 100_000);
        sleep(&mut sched, 0);
        work(&mut sched, 0, 30_000);
        sched.wake(1, sched.cpus[0].now_ns, Some(0));
        assert!(sched.resched(0, true) && sched.cpus[0].seat == Some(1), "it is behind, and takes the CPU at once");
    }
    let gap_ns = sched.vruntime(0) - sched.vruntime(1);
    assert!((2_900_000..=3_100_000).contains(&gap_ns), "4 ms less ten times 100 us: {gap_ns}");
}

#[test]
fn a_slice_lasts_until_the_tick_after_its_end_or_where_there_are_none_just_so_long() {
    for (tick_ns, ends_ns) in [(TICK_NS, [4_000_000, 8_000_000, 12_000_000]), (0, [1_400_000, 2_800_000, 4_200_000])] {
        let mut machine = machine(1, Fair::Eevdf);
        machine.scheduler.tick_ns = tick_ns;
        let mut sched = running(&machine, 2);
        let mut ends = [0; 3];
        for (i, end) in ends.iter_mut().enumerate() {
            assert!(work(&mut sched, 0, 2 * TICK_NS), "a slice ends");
            (*end, _) = (sched.cpus[0].now_ns, assert_eq!(sched.cpus[0].seat, Some((i + 1) % 2)));
        }
        assert_eq!(ends, ends_ns);
    }
}

#[test]
fn a_woken_actor_goes_to_an_idle_cpu_unless_all_were_busy_for_long_or_the_host_has_it() {
    for (busy, vcpu_is_preempted, to) in [(false, false, 1), (true, false, 0), (false, true, 0)] {
        let mut machine = machine(2, Fair::Eevdf);
        machine.scheduler.vcpu_is_preempted = vcpu_is_preempted;
        let mut sched = running(&machine, 3); // The third is in the first CPU's queue.
        sleep(&mut sched, 0);
        if busy {
            work(&mut sched, 1, 40 * TICK_NS);
        }
        sleep(&mut sched, 1);
        work(&mut sched, 0, 40 * TICK_NS);
        let taken = sched.wake(0, sched.cpus[0].now_ns, Some(0));
        assert_eq!((sched.tasks[0].cpu, taken), (to, to == 1), "busy: {busy}, taken away: {vcpu_is_preempted}");
    }
}

#[test]
fn an_idle_cpu_takes_at_a_tick_who_has_waited_there() {
    let machine = machine(2, Fair::Eevdf);
    let mut sched = running(&machine, 3);
    sleep(&mut sched, 1);
    assert!(sched.cpus[1].seat.is_none(), "not at once");
    work(&mut sched, 0, TICK_NS - 10_000);
    assert_eq!(sched.tasks[2].place, Place::Runnable);
    sched.cpus[0].since_ns = sched.cpus[0].now_ns;
    sched.tasks[0].deadline += 10_000_000; // Its slice goes on beyond the tick.
    assert!(work(&mut sched, 0, 20_000) && sched.cpus[1].seat == Some(2));
}

#[test]
fn a_busy_cpu_takes_who_waits_elsewhere_at_the_second_attempt_once_it_has_nothing_to_spare() {
    let machine = machine(2, Fair::Eevdf);
    let mut sched = running(&machine, 3);
    for (util, attempts) in [(0.8, [false, false]), (0.9, [true, true])] {
        sched.tasks[1].util = Average::new(util, 0);
        assert_eq!(attempts.map(|_| sched.take_load(1, 1_000_000)), attempts, "{util} used");
        assert_eq!(sched.tasks[2].cpu, usize::from(util > 1.0 / 1.17));
    }
}

#[test]
fn each_boot_of_a_machine_begins_at_another_time_between_two_ticks() {
    let first_tick = |number: u64| {
        let mut machine = machine(1, Fair::Cfs);
        machine.scheduler = machine.scheduler.booted(number);
        let mut sched = running(&machine, 2); // The slice of the first is over long before.
        assert!(work(&mut sched, 0, 2 * TICK_NS));
        sched.cpus[0].now_ns
    };
    assert_eq!(first_tick(0), TICK_NS);
    let mut ticks: Vec<u64> = (0..8).map(first_tick).collect();
    ticks.sort_unstable();
    assert!(ticks.windows(2).all(|two| two[1] - two[0] > TICK_NS / 16), "not even: {ticks:?}");
}

#[test]
fn three_actors_share_two_busy_cpus_in_the_long_run() {
    let machine = machine(2, Fair::Eevdf);
    let mut sched = running(&machine, 3);
    while let Some((c, _)) = sched.earliest().filter(|&(c, _)| sched.cpus[c].now_ns < 3_000_000_000) {
        let seat = sched.cpus[c].seat.expect("an actor");
        sched.charge(c, seat, 50_000);
        sched.resched(c, true);
    }
    let shares: Vec<f64> = sched.tasks.iter().map(|task| task.cpu_ns as f64 / 2e9).collect();
    assert!(shares.iter().all(|share| (0.85..1.15).contains(share)), "{shares:?}");
}

#[test]
fn a_switch_is_on_the_account_of_who_gets_the_cpu() {
    let mut machine = machine(1, Fair::Eevdf);
    machine.scheduler.switch_ns = 2_000;
    let mut sched = running(&machine, 2);
    assert_eq!(sched.tasks[0].cpu_ns, 0, "nobody was there before");
    sleep(&mut sched, 0);
    let (first, second) = (sched.tasks[0].cpu_ns, sched.tasks[1].cpu_ns);
    assert_eq!((first, second, sched.cpus[0].now_ns), (0, 2_000, 2_000));
    assert_eq!(sched.vruntime(1), 2_000);
}

#[test]
fn threads_start_in_the_live_drivers_order_and_are_taken_to_use_half_of_what_their_cpu_has_left() {
    let mut machine = machine(2, Fair::Eevdf);
    for (device_write_ns, begun) in [(0, [(0, 0.5), (0, 0.25), (1, 0.5)]), (20_000, [(0, 0.5), (1, 0.5), (0, 0.0)])] {
        machine.costs.device_write_ns = device_write_ns;
        let sched = Scheduler::new(&machine, [actor::KSWAPD, actor::SHRINK, actor::DEVICE].into_iter(), 0);
        let found: Vec<_> = sched.tasks.iter().map(|task| (task.cpu, task.util.at(0))).collect();
        assert_eq!(found, begun, "a device with a time of its own is no thread");
    }
}

#[test]
fn a_cpu_that_becomes_idle_takes_who_has_waited_elsewhere_at_once_about_every_second_time() {
    let machine = machine(2, Fair::Eevdf);
    let takes = |dice_thrown: u32, waited_ns: u64| {
        let mut sched = running(&machine, 3); // The third waits behind the first.
        (0..dice_thrown).for_each(|_| {
            sched.cpus[1].newidle.looks();
        });
        work(&mut sched, 1, waited_ns);
        sleep(&mut sched, 1);
        sched.cpus[1].seat == Some(2)
    };
    let long = (0..200).filter(|&thrown| takes(thrown, 600_000)).count();
    let just_now = (0..200).filter(|&thrown| takes(thrown, 400_000)).count();
    assert!((80..120).contains(&long) && just_now == 0, "{long} and {just_now} of 200");
}

/// Documentation/scheduler/sched-capacity.rst: one that never sleeps goes to a CPU of more capacity as soon as one is idle.
#[test]
fn a_misfit_goes_to_a_faster_idle_cpu_at_a_tick_and_a_small_one_stays() {
    for (speeds, cpu) in [([25, 100], 1), ([25, 50], 1), ([25, 26], 0), ([25, 25], 0), ([100, 25], 0)] {
        let machine = Machine { cpu_speed_percent: speeds.to_vec(), ..machine(2, Fair::Eevdf) };
        let mut sched = running(&machine, 2);
        let seat = sched.cpus[0].seat.unwrap();
        sleep(&mut sched, 1);
        let moved = (0..100).any(|_| work(&mut sched, 0, TICK_NS));
        assert_eq!((sched.tasks[seat].cpu, moved), (cpu, cpu == 1), "{speeds:?}");
    }
    let machine = Machine { cpu_speed_percent: vec![25, 100], ..machine(2, Fair::Eevdf) };
    let mut sched = running(&machine, 2);
    sleep(&mut sched, 1);
    for _ in 0..100 {
        let seat = sched.cpus[0].seat.expect("it fits there");
        work(&mut sched, 0, TICK_NS / 4);
        sleep(&mut sched, 0);
        let now_ns = sched.cpus[0].now_ns + TICK_NS / 2;
        assert!(sched.wake(seat, now_ns, None));
    }
}

#[test]
fn a_woken_actor_goes_to_an_idle_cpu_that_it_fits_on_or_to_the_fastest() {
    // The CPU that it was on, what it used of that, whether the fastest has another, and where it wakes.
    for (last, used, busy, cpu) in [
        (0, 0.5, false, 0),
        (0, 1.0, false, 1),
        (1, 1.0, false, 2),
        (1, 1.0, true, 1),
        (2, 0.9, false, 2),
        (2, 0.7, false, 2),
    ] {
        let machine = Machine { cpu_speed_percent: vec![25, 50, 100], ..machine(3, Fair::Eevdf) };
        let mut sched = running(&machine, 3);
        let seat = sched.cpus[last].seat.unwrap();
        (0..3).filter(|&c| c != 2 || !busy).for_each(|c| sleep(&mut sched, c));
        sched.tasks[seat].util = Average::new(used, 0);
        assert!(sched.wake(seat, 0, None));
        assert_eq!(sched.tasks[seat].cpu, cpu, "from {last}, {used} of it used, {busy}");
    }
}
