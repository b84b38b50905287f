(** The branch argument: the integer system of a placement problem, and why every placement is one of its points. *)

From Coq Require Import List Arith ZArith NArith QArith Lia Bool Permutation Sorted.
From Shardproof Require Import Placement Order Tree.
Import ListNotations.
Open Scope Z_scope.

Section System.
Variables (p : problem) (T : Z).

Definition rank_list : list rank_class := flat_map (fun c => repeat c (ranks c)) (classes p).
Definition rank_count : nat := length rank_list.

(** lcm(1..replicas) *)
Definition unit : Z := fold_right (fun r m => Z.lcm (Z.of_nat r) m) 1 (seq 1 (replicas p)).

(** 1 iff expert [e] has [r + 1] replicas and one of them lies on rank [j]. *)
Definition variable (e r j : nat) : N :=
  ((N.of_nat e * N.of_nat (replicas p) + N.of_nat r) * N.of_nat rank_count + N.of_nat j)%N.

Definition variables : N := (N.of_nat (experts p) * N.of_nat (replicas p) * N.of_nat rank_count)%N.

(** One term for each number of replicas. *)
Definition of_expert (coefficient : nat -> Z) (e j : nat) : terms :=
  map (fun r => (variable e r j, coefficient r)) (seq 0 (replicas p)).

(** One term for each expert and number of replicas. *)
Definition on_rank (coefficient : nat -> nat -> Z) (j : nat) : terms :=
  flat_map (fun e => of_expert (coefficient e) e j) (seq 0 (experts p)).

Definition expert_row (e : nat) : row :=
  Row (flat_map (fun r => map (fun j => (variable e r j, unit / Z.of_nat (r + 1))) (seq 0 rank_count)) (seq 0 (replicas p)))
    unit true.

Definition rank_rows (j : nat) (c : rank_class) : list row :=
  [ Row (on_rank (fun e r => unit / Z.of_nat (r + 1) * load p e) j) (unit * T * speed c) false;
    Row (on_rank (fun _ _ => 1) j) (Z.of_nat (slots c)) (full p) ]
  ++ match memory c with None => [] | Some room => [Row (on_rank (fun e _ => size p e) j) room false] end.

Fixpoint all_rank_rows (j : nat) (cs : list rank_class) : list row :=
  match cs with [] => [] | c :: cs => rank_rows j c ++ all_rank_rows (S j) cs end.

Definition once_rows : list row :=
  if (1 <? replicas p)%nat
  then flat_map (fun e => map (fun j => Row (of_expert (fun _ => 1) e j) 1 false) (seq 0 rank_count)) (seq 0 (experts p))
  else [].

Definition system : list row := map expert_row (seq 0 (experts p)) ++ all_rank_rows 0 rank_list ++ once_rows.

(** Heaviest first; ties: lower index first. *)
Definition by_load : list nat := sort (load p) (seq 0 (experts p)).

(** Ranks of a class are numbered by first use: at most (i + 1) * replicas of them hold one of the first i + 1 experts. *)
Fixpoint unused (first : nat) (cs : list rank_class) : list N :=
  match cs with
  | [] => []
  | c :: cs =>
      flat_map (fun i => let bound := ((i + 1) * replicas p)%nat in
        flat_map (fun j => map (fun r => variable (nth i by_load 0%nat) r (first + j)) (seq 0 (replicas p)))
          (seq bound (ranks c - bound))) (seq 0 (experts p))
      ++ unused (first + ranks c) cs
  end.

Definition check_branch (nodes : list node) : bool :=
  check_tree variables system (unused 0 (classes p)) nodes.
End System.

(** * Ranks in the order of their first use *)

(** Position in [order] of the first expert held. *)
Fixpoint first_use (order : list nat) (S : contents) : nat :=
  match order with [] => 0 | e :: order => if mem e S then 0 else Datatypes.S (first_use order S) end.

Definition by_use (order : list nat) (held : list contents) : list contents :=
  sort (fun S => - Z.of_nat (first_use order S)) held.

Lemma first_use_le order S i e : nth_error order i = Some e -> In e S -> (first_use order S <= i)%nat.
Proof.
  revert i. induction order as [|f order IH]; intros [|i] HE HI; simpl in *; try discriminate.
  - inversion HE; subst. apply mem_spec in HI. rewrite HI. lia.
  - destruct (mem f S); [lia|]. specialize (IH i HE HI). lia.
Qed.

Lemma first_use_in order S i : (first_use order S <= i)%nat -> (i < length order)%nat ->
  exists e, In e (firstn (i + 1) order) /\ In e S.
Proof.
  revert i. induction order as [|f order IH]; intros i HF HL; simpl in *; [lia|].
  replace (i + 1)%nat with (Datatypes.S i) by lia. simpl.
  destruct (mem f S) eqn:E; [exists f; apply mem_spec in E; auto|].
  destruct i as [|i]; [lia|]. destruct (IH i) as (e & H1 & H2); [lia|lia|].
  exists e. replace (Datatypes.S i) with (i + 1)%nat by lia. auto.
Qed.

Lemma filter_count A l : (length (filter (fun e => mem e A) l) <= fold_right (fun e s => count_occ Nat.eq_dec l e + s) 0 A)%nat.
Proof.
  induction l as [|y l IH]; simpl; [lia|].
  assert (H : fold_right (fun e s =>
      (if Nat.eq_dec y e then Datatypes.S (count_occ Nat.eq_dec l e) else count_occ Nat.eq_dec l e) + s)%nat 0%nat A
    = (fold_right (fun e s => (if Nat.eq_dec y e then 1 else 0) + s)%nat 0%nat A
       + fold_right (fun e s => count_occ Nat.eq_dec l e + s)%nat 0%nat A)%nat).
  { clear. induction A as [|e A IH]; simpl; [reflexivity|]. rewrite IH. destruct (Nat.eq_dec y e); lia. }
  rewrite H. destruct (mem y A) eqn:E; [|lia]. simpl.
  assert (1 <= fold_right (fun e s => (if Nat.eq_dec y e then 1 else 0) + s) 0 A)%nat; [|lia].
  apply mem_spec in E. clear - E. induction A as [|e A IH]; simpl in *; [contradiction|].
  destruct E as [->|E]; [destruct (Nat.eq_dec y y); [lia|contradiction]|specialize (IH E); lia].
Qed.

Lemma firstn_incl {A} n (l : list A) y : In y (firstn n l) -> In y l.
Proof. intros H. rewrite <- (firstn_skipn n l). apply in_app_iff. auto. Qed.

(** Of the ranks in order of first use, only the first (i + 1) * R hold expert number i. *)
Lemma used_early order held R i e j :
  (forall f, In f order -> (count_occ Nat.eq_dec (concat held) f <= R)%nat) ->
  nth_error order i = Some e -> In e (nth j (by_use order held) []) -> (j < (i + 1) * R)%nat.
Proof.
  intros HR HE HI. set (hs := by_use order held) in *.
  assert (Hj : (j < length hs)%nat) by (destruct (lt_dec j (length hs)); [assumption|rewrite nth_overflow in HI by lia; destruct HI]).
  assert (HD : descending (fun S => - Z.of_nat (first_use order S)) hs) by apply sort_descending.
  assert (HP : Permutation hs held) by apply sort_permutation.
  assert (Hi : (i < length order)%nat) by (apply nth_error_Some; rewrite HE; discriminate).
  (* every rank up to j holds one of the first i + 1 experts *)
  assert (HU : Forall (fun S => (1 <= length (filter (fun f => mem f (firstn (i + 1) order)) S))%nat) (firstn (Datatypes.S j) hs)).
  { apply Forall_forall. intros S HS. destruct (first_use_in order S i) as (f & Hf & HfS); [|exact Hi|].
    - pose proof (first_use_le order _ i e HE HI) as HJ.
      assert (HX : hs = firstn j hs ++ nth j hs [] :: skipn (Datatypes.S j) hs).
      { clear - Hj. revert j Hj. induction hs as [|h l IH]; intros [|j] Hj; simpl in *; try lia; [reflexivity|].
        f_equal. apply IH. lia. }
      rewrite HX in HD. destruct (descending_app _ _ _ HD) as (_ & _ & HC).
      assert (HS' : In S (firstn j hs) \/ S = nth j hs []).
      { clear - HS Hj. revert j Hj HS. induction hs as [|h l IH]; intros j Hj HS; simpl in Hj; [lia|].
        simpl in HS. destruct j as [|j]; simpl in *; [destruct HS as [->|[]]; auto|].
        destruct HS as [->|HS]; [auto|]. destruct (IH j) as [H|H]; [lia|exact HS|auto|auto]. }
      destruct HS' as [HS'| ->]; [|exact HJ]. specialize (HC S (nth j hs []) HS' (or_introl eq_refl)). simpl in HC. lia.
    - assert (HF : In f (filter (fun f => mem f (firstn (i + 1) order)) S)) by (apply filter_In; split; [|apply mem_spec]; assumption).
      destruct (filter _ S); [destruct HF|simpl; lia]. }
  assert (H1 : (Datatypes.S j <= length (filter (fun f => mem f (firstn (i + 1) order)) (concat (firstn (Datatypes.S j) hs))))%nat).
  { assert (HL : length (firstn (Datatypes.S j) hs) = Datatypes.S j) by (rewrite firstn_length; lia).
    rewrite <- HL at 1. clear - HU. induction HU as [|S l HS _ IH]; simpl; [lia|]. rewrite filter_app, app_length. lia. }
  pose proof (filter_count (firstn (i + 1) order) (concat (firstn (Datatypes.S j) hs))) as H2.
  assert (H3 : (fold_right (fun e s => count_occ Nat.eq_dec (concat (firstn (Datatypes.S j) hs)) e + s) 0 (firstn (i + 1) order)
    <= length (firstn (i + 1) order) * R)%nat).
  { assert (HA : forall f, In f (firstn (i + 1) order) -> (count_occ Nat.eq_dec (concat (firstn (Datatypes.S j) hs)) f <= R)%nat).
    { intros f Hf. transitivity (count_occ Nat.eq_dec (concat held) f); [|apply HR, (firstn_incl _ _ _ Hf)].
      rewrite <- (proj1 (Permutation_count_occ Nat.eq_dec _ _) (concat_permutation _ _ HP) f).
      rewrite <- (firstn_skipn (Datatypes.S j) hs) at 2. rewrite concat_app, count_occ_app. lia. }
    clear - HA. set (l := concat (firstn (Datatypes.S j) hs)) in *. clearbody l.
    induction (firstn (i + 1) order) as [|f A IH]; simpl; [lia|].
    specialize (IH (fun f Hf => HA f (or_intror Hf))). specialize (HA f (or_introl eq_refl)). lia. }
  rewrite firstn_length in H3. nia.
Qed.

(** The same placement, the ranks of each class in order of first use. *)
Definition renumbered (p : problem) (pl : placement) : placement := map (by_use (by_load p)) pl.

Lemma renumbered_concat p pl : Permutation (concat (concat (renumbered p pl))) (concat (concat pl)).
Proof.
  apply concat_permutation. induction pl as [|held pl IH]; simpl; [constructor|].
  apply Permutation_app; [apply sort_permutation|exact IH].
Qed.

Lemma renumbered_copies p pl e : copies (renumbered p pl) e = copies pl e.
Proof. apply (Permutation_count_occ Nat.eq_dec), renumbered_concat. Qed.

Lemma Forall2_renumbered p pl cs (P Q : rank_class -> list contents -> Prop) :
  (forall c held held', Permutation held' held -> P c held -> Q c held') -> Forall2 P cs pl -> Forall2 Q cs (renumbered p pl).
Proof. intros H. induction 1; simpl; constructor; [eapply H; [apply sort_permutation|eassumption]|assumption]. Qed.

Lemma renumbered_valid p pl : valid p pl -> valid p (renumbered p pl).
Proof.
  intros [H HR]. split; [|intros e; rewrite renumbered_copies; apply HR].
  eapply Forall2_renumbered; [|exact H]. intros c held held' HP [HL HF].
  split; [rewrite (Permutation_length HP); exact HL|apply (Permutation_Forall (Permutation_sym HP) HF)].
Qed.

Lemma carried_copies p pl pl' S : (forall e, copies pl' e = copies pl e) -> carried p pl' S = carried p pl S.
Proof. intros H. unfold carried. induction S as [|e S IH]; simpl; [reflexivity|]. rewrite H, IH. reflexivity. Qed.

Lemma renumbered_within p T pl : within p T pl -> within p T (renumbered p pl).
Proof.
  unfold within. apply Forall2_renumbered. intros c held held' HP HF. apply (Permutation_Forall (Permutation_sym HP)).
  eapply Forall_impl; [|exact HF]. intros S HS. rewrite (carried_copies p pl) by apply renumbered_copies. exact HS.
Qed.

(** * A placement as a point *)

Definition point_of (p : problem) (pl : placement) (v : N) : Z :=
  let m := N.of_nat (rank_count p) in
  let k := N.of_nat (replicas p) in
  let e := N.to_nat (v / m / k) in
  if Nat.eqb (copies pl e) (N.to_nat ((v / m) mod k) + 1) && mem e (nth (N.to_nat (v mod m)) (concat pl) []) then 1 else 0.

Lemma point_binary p pl : binary (point_of p pl).
Proof. intros v. unfold point_of. destruct (_ && _); auto. Qed.

Lemma point_variable p pl e r j : (r < replicas p)%nat -> (j < rank_count p)%nat ->
  point_of p pl (variable p e r j)
  = if Nat.eqb (copies pl e) (r + 1) && mem e (nth j (concat pl) []) then 1 else 0.
Proof.
  intros Hr Hj. unfold point_of, variable. set (m := N.of_nat (rank_count p)). set (k := N.of_nat (replicas p)).
  set (i := (N.of_nat e * k + N.of_nat r)%N).
  assert (H1 : ((i * m + N.of_nat j) / m = i)%N) by (symmetry; apply (N.div_unique _ _ _ (N.of_nat j)); lia).
  assert (H2 : ((i * m + N.of_nat j) mod m = N.of_nat j)%N) by (symmetry; apply (N.mod_unique _ _ i); lia).
  assert (H3 : (i / k = N.of_nat e)%N) by (symmetry; apply (N.div_unique _ _ _ (N.of_nat r)); lia).
  assert (H4 : (i mod k = N.of_nat r)%N) by (symmetry; apply (N.mod_unique _ _ (N.of_nat e)); lia).
  rewrite H1, H2, H3, H4, !Nat2N.id. reflexivity.
Qed.

Section Point.
Variables (p : problem) (T : Z) (pl : placement).
Hypothesis HV : valid p pl.
Hypothesis HW : within p T pl.
Let x := point_of p pl.

Lemma eval_map (f : nat -> N) (g : nat -> Z) l : eval (map (fun y => (f y, g y)) l) x = sum (fun y => g y * x (f y)) l.
Proof. induction l as [|y l IH]; simpl; [reflexivity|]. rewrite IH. reflexivity. Qed.

Lemma eval_flat_map (f : nat -> terms) l : eval (flat_map f l) x = sum (fun y => eval (f y) x) l.
Proof.
  induction l as [|y l IH]; simpl; [reflexivity|]. rewrite <- IH. clear.
  induction (f y) as [|a t IHt]; simpl; lia.
Qed.

Lemma ranks_length : length (concat pl) = rank_count p.
Proof.
  unfold rank_count, rank_list. destruct HV as [H _]. clear - H.
  induction H as [|c held cs pls [HL _] _ IH]; simpl; [reflexivity|].
  rewrite !app_length, repeat_length, IH, HL. reflexivity.
Qed.

(** Every rank with its class: it fits, and keeps the threshold; where every slot is full, its slots are. *)
Definition rank_holds (c : rank_class) (S : contents) : Prop :=
  fits p c S /\ (carried p pl S <= inject_Z (T * speed c))%Q /\ (full p = true -> length S = slots c).

Lemma ranks_hold : Forall2 rank_holds (rank_list p) (concat pl).
Proof.
  pose proof (fun HF => full_exact p pl HF HV) as HE. pose proof HW as HW'. unfold within in HW'. destruct HV as [H _].
  assert (G : forall cs rs,
    Forall2 (fun c held => length held = ranks c /\ Forall (fits p c) held) cs rs ->
    Forall2 (fun c held => Forall (fun S => (carried p pl S <= inject_Z (T * speed c))%Q) held) cs rs ->
    (full p = true -> Forall2 (fun c held => Forall (fun S => length S = slots c) held) cs rs) ->
    Forall2 rank_holds (flat_map (fun c => repeat c (ranks c)) cs) (concat rs)); [|apply G; assumption].
  clear. induction 1 as [|c held cs rs [HL HF] _ IH]; intros HW HE; simpl; [constructor|].
  inversion HW as [|? ? ? ? HW1 HW2]; subst. apply Forall2_app; [|apply IH; [assumption|]].
  - assert (HE1 : full p = true -> Forall (fun S => length S = slots c) held).
    { intros Hf. specialize (HE Hf). inversion HE; assumption. }
    rewrite <- HL. clear - HF HW1 HE1. induction HF as [|S held HS _ IH]; simpl; constructor; inversion HW1; subst.
    + repeat split; try apply HS; [assumption|]. intros Hf. specialize (HE1 Hf). inversion HE1; assumption.
    + apply IH; [assumption|]. intros Hf. specialize (HE1 Hf). inversion HE1; assumption.
  - intros Hf. specialize (HE Hf). inversion HE; assumption.
Qed.

Lemma sum_shift f n k : sum f (seq (Datatypes.S k) n) = sum (fun j => f (Datatypes.S j)) (seq k n).
Proof. revert k. induction n as [|n IH]; intros k; simpl; [reflexivity|]. rewrite IH. reflexivity. Qed.

(** The ranks that hold an expert are as many as its replicas. *)
Lemma copies_sum e : sum (fun j => if mem e (nth j (concat pl) []) then 1 else 0) (seq 0 (rank_count p)) = Z.of_nat (copies pl e).
Proof.
  assert (HN : Forall (@NoDup nat) (concat pl)).
  { pose proof ranks_hold as H. clear - H. induction H as [|c S cs rs [HF _] _ IH]; constructor; [apply HF|exact IH]. }
  rewrite <- ranks_length. unfold copies. clear - HN.
  induction HN as [|S rs HS _ IH]; simpl; [reflexivity|]. rewrite sum_shift, IH, count_occ_app.
  destruct (mem e S) eqn:E.
  - apply mem_spec in E. rewrite (proj1 (NoDup_count_occ' Nat.eq_dec S) HS e E). lia.
  - assert (HI : ~ In e S) by (rewrite <- mem_spec, E; discriminate).
    rewrite (proj1 (count_occ_not_In Nat.eq_dec S e) HI). lia.
Qed.

Lemma expert_copies e : (e < experts p)%nat -> (1 <= copies pl e <= replicas p)%nat.
Proof. apply HV. Qed.

(** Of the terms of one expert on one rank, only that of its number of replicas counts. *)
Lemma eval_of_expert f e j : (e < experts p)%nat -> (j < rank_count p)%nat ->
  eval (of_expert p f e j) x = if mem e (nth j (concat pl) []) then f (copies pl e - 1)%nat else 0.
Proof.
  intros He Hj. pose proof (expert_copies e He) as HC. unfold of_expert. rewrite eval_map.
  transitivity (sum (fun r => if Nat.eq_dec (copies pl e - 1) r
    then (if mem e (nth j (concat pl) []) then f r else 0) else 0) (seq 0 (replicas p))).
  - apply sum_ext. intros r Hr. apply in_seq in Hr. unfold x. rewrite point_variable by lia.
    destruct (Nat.eq_dec (copies pl e - 1) r), (Nat.eqb_spec (copies pl e) (r + 1)); try lia; simpl; [|lia].
    destruct (mem e _); lia.
  - rewrite sum_one; [reflexivity|apply seq_NoDup|apply in_seq; lia].
Qed.

Lemma eval_on_rank f j S : (j < rank_count p)%nat -> nth j (concat pl) [] = S -> NoDup S ->
  (forall e, In e S -> (e < experts p)%nat) ->
  eval (on_rank p f j) x = sum (fun e => f e (copies pl e - 1)%nat) S.
Proof.
  intros Hj HS HN HE. unfold on_rank. rewrite eval_flat_map.
  rewrite (sum_count (fun e => f e (copies pl e - 1)%nat) (experts p) S HE).
  apply sum_ext. intros e He. apply in_seq in He. rewrite eval_of_expert, HS by lia.
  destruct (mem e S) eqn:E.
  - apply mem_spec in E. rewrite (proj1 (NoDup_count_occ' Nat.eq_dec S) HN e E). lia.
  - assert (HI : ~ In e S) by (rewrite <- mem_spec, E; discriminate).
    rewrite (proj1 (count_occ_not_In Nat.eq_dec S e) HI). lia.
Qed.

Lemma unit_nonneg : 0 <= unit p.
Proof. unfold unit. destruct (seq 1 (replicas p)); simpl; [lia|apply Z.lcm_nonneg]. Qed.

Lemma unit_divides r : (1 <= r <= replicas p)%nat -> (Z.of_nat r | unit p).
Proof.
  intros Hr. assert (H : In r (seq 1 (replicas p))) by (apply in_seq; lia). unfold unit. clear Hr.
  induction (seq 1 (replicas p)) as [|y l IH]; simpl in *; [contradiction|]. destruct H as [->|H]; [apply Z.divide_lcm_l|].
  eapply Z.divide_trans; [apply IH, H|apply Z.divide_lcm_r].
Qed.

Lemma expert_row_holds e : (e < experts p)%nat -> satisfies x (expert_row p e).
Proof.
  intros He. pose proof (expert_copies e He) as HC. unfold satisfies, expert_row. cbn [equality left right].
  rewrite eval_flat_map.
  transitivity (sum (fun r => if Nat.eq_dec (copies pl e - 1) r
    then unit p / Z.of_nat (r + 1) * Z.of_nat (copies pl e) else 0) (seq 0 (replicas p))).
  - apply sum_ext. intros r Hr. apply in_seq in Hr. rewrite eval_map, sum_scale.
    destruct (Nat.eq_dec (copies pl e - 1) r) as [E|E].
    + f_equal. rewrite <- copies_sum. apply sum_ext. intros j Hj. apply in_seq in Hj. unfold x.
      rewrite point_variable by lia. destruct (Nat.eqb_spec (copies pl e) (r + 1)); [reflexivity|lia].
    + rewrite (sum_ext _ (fun _ => 0)), sum_const; [lia|]. intros j Hj. apply in_seq in Hj. unfold x.
      rewrite point_variable by lia. destruct (Nat.eqb_spec (copies pl e) (r + 1)); [lia|reflexivity].
  - rewrite (sum_one (fun r => unit p / Z.of_nat (r + 1) * Z.of_nat (copies pl e)));
      [|apply seq_NoDup|apply in_seq; lia].
    replace (copies pl e - 1 + 1)%nat with (copies pl e) by lia.
    rewrite Z.mul_comm. symmetry. apply Z_div_exact_full_2; [lia|].
    apply Z.mod_divide; [lia|]. apply unit_divides. lia.
Qed.

Lemma rank_rows_hold j c S : (j < rank_count p)%nat -> nth j (concat pl) [] = S -> rank_holds c S ->
  Forall (satisfies x) (rank_rows p T j c).
Proof.
  intros Hj HS ((HN & HE & HL & HM) & HQ & HF). unfold rank_rows. apply Forall_app. split.
  - constructor; [|constructor; [|constructor]]; unfold satisfies; cbn [equality left right];
      rewrite (eval_on_rank _ j S) by assumption.
    + assert (HC : forall e, In e S -> (1 <= copies pl e <= replicas p)%nat) by (intros; apply expert_copies, HE; assumption).
      pose proof (scaled_within p pl S (unit p) 1 T (speed c) ltac:(lia) unit_nonneg (fun e He => proj1 (HC e He)) HQ) as H.
      rewrite Z.div_1_r in H. etransitivity; [|exact H]. apply Z.eq_le_incl, sum_ext. intros e He. specialize (HC e He).
      replace (copies pl e - 1 + 1)%nat with (copies pl e) by lia.
      rewrite Z.mul_1_l, (Z.mul_comm (unit p)), Z.divide_div_mul_exact by (try apply unit_divides; lia). lia.
    + rewrite sum_const. destruct (full p); [rewrite HF by reflexivity|]; lia.
  - destruct (memory c) as [room|]; [|constructor]. constructor; [|constructor]. unfold satisfies; cbn [equality left right].
    rewrite (eval_on_rank _ j S) by assumption. exact HM.
Qed.

Lemma all_rank_rows_hold : Forall (satisfies x) (all_rank_rows p T 0 (rank_list p)).
Proof.
  assert (G : forall cs rs, Forall2 rank_holds cs rs -> forall before, concat pl = before ++ rs ->
    Forall (satisfies x) (all_rank_rows p T (length before) cs)); [|apply (G _ _ ranks_hold []); reflexivity].
  induction 1 as [|c S cs rs HS _ IH]; intros before E; cbn [all_rank_rows]; [constructor|]. apply Forall_app. split.
  - apply (rank_rows_hold _ c S); [| |exact HS].
    + rewrite <- ranks_length, E, app_length. simpl. lia.
    + rewrite E, app_nth2, Nat.sub_diag by lia. reflexivity.
  - specialize (IH (before ++ [S])). rewrite app_length, Nat.add_1_r in IH. apply IH. rewrite E, <- app_assoc. reflexivity.
Qed.

Lemma once_rows_hold : Forall (satisfies x) (once_rows p).
Proof.
  unfold once_rows. destruct (1 <? replicas p)%nat; [|constructor]. apply Forall_forall. intros r Hr.
  apply in_flat_map in Hr as (e & He & Hr). apply in_map_iff in Hr as (j & <- & Hj). apply in_seq in He, Hj.
  unfold satisfies; cbn [equality left right]. rewrite eval_of_expert by lia. destruct (mem e _); lia.
Qed.

Lemma system_holds : Forall (satisfies x) (system p T).
Proof.
  unfold system. rewrite !Forall_app. repeat split; [|apply all_rank_rows_hold|apply once_rows_hold].
  apply Forall_forall. intros r Hr. apply in_map_iff in Hr as (e & <- & He). apply in_seq in He.
  apply expert_row_holds. lia.
Qed.
End Point.

Lemma by_load_permutation p : Permutation (by_load p) (seq 0 (experts p)).
Proof. apply sort_permutation. Qed.

Lemma renumbered_unused p pl : valid p pl ->
  forall v, In v (unused p 0 (classes p)) -> point_of p (renumbered p pl) v = 0.
Proof.
  intros HV. pose proof (ranks_length p (renumbered p pl) (renumbered_valid p pl HV)) as HL.
  assert (HR : forall held, In held pl -> forall f, In f (by_load p) -> (count_occ Nat.eq_dec (concat held) f <= replicas p)%nat).
  { intros held Hh f Hf. apply (Permutation_in f (by_load_permutation p)), in_seq in Hf.
    transitivity (copies pl f); [|apply HV; lia]. unfold copies. clear - Hh.
    induction pl as [|h pl IH]; simpl in *; [contradiction|]. rewrite concat_app, count_occ_app.
    destruct Hh as [->|Hh]; [lia|specialize (IH Hh); lia]. }
  assert (G : forall cs hs, Forall2 (fun c held => length held = ranks c /\ Forall (fits p c) held) cs hs -> incl hs pl ->
    forall before, concat (renumbered p pl) = before ++ concat (renumbered p hs) ->
    forall v, In v (unused p (length before) cs) -> point_of p (renumbered p pl) v = 0).
  2: { apply (G _ _ (proj1 HV) (incl_refl _) []). reflexivity. }
  induction 1 as [|c held cs hs [Hc HF] _ IH]; intros HI before E v Hv; simpl in Hv; [contradiction|].
  simpl in E. assert (HB : length (by_use (by_load p) held) = ranks c).
  { rewrite <- Hc. apply Permutation_length, sort_permutation. }
  apply in_app_iff in Hv as [Hv|Hv].
  - apply in_flat_map in Hv as (i & Hi & Hv). apply in_flat_map in Hv as (j & Hj & Hv).
    apply in_map_iff in Hv as (r & <- & Hr). apply in_seq in Hi, Hj, Hr.
    rewrite point_variable; [|lia|].
    + rewrite E, app_nth2_plus, app_nth1 by lia.
      destruct (mem _ (nth j _ [])) eqn:EM; [|rewrite andb_false_r; reflexivity]. exfalso. apply mem_spec in EM.
      assert (HN : nth_error (by_load p) i = Some (nth i (by_load p) 0%nat)).
      { apply nth_error_nth'. rewrite (Permutation_length (by_load_permutation p)), seq_length. lia. }
      pose proof (used_early _ _ (replicas p) i _ j (HR held (HI held (or_introl eq_refl))) HN EM). lia.
    + rewrite <- HL, E, !app_length, HB. lia.
  - specialize (IH (fun h Hh => HI h (or_intror Hh)) (before ++ by_use (by_load p) held)).
    rewrite app_length, HB in IH. apply IH; [|exact Hv]. rewrite E, app_assoc. reflexivity.
Qed.

(** An accepted branch tree refutes its threshold. *)
Theorem branch_sound p T nodes : check_branch p T nodes = true -> refuted p T.
Proof.
  intros HK pl HV HW. eapply (tree_sound _ _ _ _ HK (point_of p (renumbered p pl))).
  - apply point_binary.
  - apply renumbered_unused, HV.
  - apply system_holds; [apply renumbered_valid, HV|apply renumbered_within, HW].
Qed.
