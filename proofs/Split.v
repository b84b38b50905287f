(** The two cases of a split: two experts share a rank, or they do not. *)

From Coq Require Import List Arith ZArith Lia Bool Permutation.
From Shardproof Require Import Placement Order Prices.
Import ListNotations.
Open Scope Z_scope.

Section Cases.
Variables (d : decided) (i j : nat).

Definition share (e f : nat) : bool := existsb (fun b => mem e b && mem f b) (blocks d).

(** They share a rank already, or none already. *)
Definition known : bool :=
  share i j || existsb (fun q => (share (fst q) i && share (snd q) j) || (share (fst q) j && share (snd q) i)) (apart d).

Definition touched (b : list nat) : bool := mem i b || mem j b.

(** The blocks of both experts become one. *)
Definition together : decided :=
  Decided (concat (filter touched (blocks d)) :: filter (fun b => negb (touched b)) (blocks d)) (apart d).

Definition separate : decided := Decided (blocks d) ((i, j) :: apart d).
End Cases.

Lemma respects_ranks d pl : respects d pl <-> forall S, In S (concat pl) -> keeps d S.
Proof.
  unfold respects. rewrite Forall_forall. split.
  - intros H S HS. apply in_concat in HS as (held & Hh & HS). specialize (H held Hh). rewrite Forall_forall in H. auto.
  - intros H held Hh. apply Forall_forall. intros S HS. apply H, in_concat. exists held. auto.
Qed.

Lemma together_covers p d i j : covers p d -> covers p (together d i j).
Proof.
  unfold covers, together. simpl. intros H. rewrite <- concat_app, <- H. apply concat_permutation, partition_filter.
Qed.

(** An expert of one replica lies on one rank. *)
Lemma one_rank (e : nat) (rs : list contents) S S' : count_occ Nat.eq_dec (concat rs) e = 1%nat ->
  In S rs -> In S' rs -> In e S -> In e S' -> S = S'.
Proof.
  intros HC HS HS' He He'. apply in_split in HS as (l1 & l2 & ->).
  rewrite concat_app in HC. simpl in HC. rewrite !count_occ_app in HC.
  apply (count_occ_In Nat.eq_dec) in He.
  assert (HN : forall l, In S' l -> (1 <= count_occ Nat.eq_dec (concat l) e)%nat).
  { intros l Hl. apply (count_occ_In Nat.eq_dec), in_concat. exists S'. auto. }
  apply in_app_iff in HS' as [H|[H|H]]; [specialize (HN _ H); lia|exact H|specialize (HN _ H); lia].
Qed.

(** Every placement that keeps the decisions keeps them in one of the two cases. *)
Theorem split_cases p d i j pl : replicas p = 1%nat -> (i < experts p)%nat -> (j < experts p)%nat ->
  valid p pl -> respects d pl -> respects (together d i j) pl \/ respects (separate d i j) pl.
Proof.
  intros HR Hi Hj HV HD. pose proof (proj1 (respects_ranks d pl) HD) as HK. clear HD.
  assert (HC : forall e, (e < experts p)%nat -> copies pl e = 1%nat).
  { intros e He. destruct HV as [_ H]. specialize (H e He). lia. }
  destruct (Exists_dec (fun S => In i S /\ In j S) (concat pl)) as [HE|HE].
  { intros S. destruct (in_dec Nat.eq_dec i S), (in_dec Nat.eq_dec j S); [left|right|right|right]; tauto. }
  - left. apply Exists_exists in HE as (S0 & HS0 & Hi0 & Hj0). apply respects_ranks. intros S HS.
    destruct (HK S HS) as [HB HA]. split; [|exact HA]. simpl. intros b [<-|Hb]; [|apply HB; apply filter_In in Hb; tauto].
    intros e f He Hf HeS.
    assert (G : forall g, In g (concat (filter (touched i j) (blocks d))) ->
      exists b, In b (blocks d) /\ In g b /\ (In i b \/ In j b)).
    { intros g Hg. apply in_concat in Hg as (b & Hb & Hg). apply filter_In in Hb as [Hb Ht].
      exists b. unfold touched in Ht. rewrite orb_true_iff, !mem_spec in Ht. auto. }
    destruct (G e He) as (b1 & Hb1 & He1 & H1). destruct (G f Hf) as (b2 & Hb2 & Hf2 & H2).
    assert (HS' : S = S0).
    { destruct H1 as [H1|H1].
      - apply (one_rank i (concat pl)); auto. exact (HC i Hi). exact (HB b1 Hb1 e i He1 H1 HeS).
      - apply (one_rank j (concat pl)); auto. exact (HC j Hj). exact (HB b1 Hb1 e j He1 H1 HeS). }
    subst S0. destruct H2 as [H2|H2]; [exact (HB b2 Hb2 i f H2 Hf2 Hi0)|exact (HB b2 Hb2 j f H2 Hf2 Hj0)].
  - right. apply respects_ranks. intros S HS. destruct (HK S HS) as [HB HA]. split; [exact HB|].
    simpl. intros a b [E|Hab]; [|apply HA, Hab]. inversion E; subst. intros H. apply HE, Exists_exists. exists S. auto.
Qed.
