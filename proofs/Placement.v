(** Placement problems, placements, and what it means to refute a threshold.

    This file is the statement: a reader who accepts the definitions of the first section knows what
    every theorem of this folder says. Grammar and meaning: docs/certificate.md. *)

From Coq Require Import List Arith ZArith QArith Lia Bool Permutation.
Import ListNotations.
Open Scope Z_scope.

(** * The statement *)

(** [ranks] ranks alike: each holds at most [slots] replicas, of at most [memory] in all. *)
Record rank_class := RankClass { ranks : nat; slots : nat; speed : Z; memory : option Z }.

(** [sizes] is [[]] where experts have none. *)
Record problem := Problem { loads : list Z; sizes : list Z; classes : list rank_class; replicas : nat }.

(** The experts of one rank. *)
Notation contents := (list nat).

(** For each class, the contents of each of its ranks. *)
Notation placement := (list (list contents)).

Definition experts (p : problem) : nat := length (loads p).
Definition load (p : problem) (e : nat) : Z := nth e (loads p) 0.
Definition size (p : problem) (e : nat) : Z := nth e (sizes p) 0.

(** Sum of [f e] over the experts of a list. *)
Definition sum (f : nat -> Z) (l : list nat) : Z := fold_right (fun e s => f e + s) 0 l.

(** Number of ranks that hold a replica of [e]. *)
Definition copies (pl : placement) (e : nat) : nat := count_occ Nat.eq_dec (concat (concat pl)) e.

(** One rank: no expert twice, no more than its slots, no more than its memory. *)
Definition fits (p : problem) (c : rank_class) (held : contents) : Prop :=
  NoDup held /\ (forall e, In e held -> (e < experts p)%nat) /\ (length held <= slots c)%nat
  /\ match memory c with None => True | Some room => sum (size p) held <= room end.

Definition valid (p : problem) (pl : placement) : Prop :=
  Forall2 (fun c held => length held = ranks c /\ Forall (fits p c) held) (classes p) pl
  /\ forall e, (e < experts p)%nat -> (1 <= copies pl e <= replicas p)%nat.

(** What a rank carries: every replica of an expert takes an equal share of its load, not rounded. *)
Definition carried (p : problem) (pl : placement) (held : contents) : Q :=
  fold_right (fun e s => (load p e # Pos.of_nat (copies pl e)) + s)%Q 0%Q held.

(** No rank carries more than [T] times its speed. *)
Definition within (p : problem) (T : Z) (pl : placement) : Prop :=
  Forall2 (fun c held => Forall (fun S => (carried p pl S <= inject_Z (T * speed c))%Q) held) (classes p) pl.

(** No placement keeps [T]. *)
Definition refuted (p : problem) (T : Z) : Prop := forall pl, valid p pl -> ~ within p T pl.

(** Some rank carries more than [T] times its speed. *)
Definition overloaded (p : problem) (T : Z) (pl : placement) : Prop :=
  exists g c held S, nth_error (classes p) g = Some c /\ nth_error pl g = Some held /\ In S held
    /\ (inject_Z (T * speed c) < carried p pl S)%Q.

(** Every slot of every rank is taken in every placement (theorem [full_exact] below). *)
Definition total_slots (p : problem) : nat := fold_right (fun c s => (ranks c * slots c + s)%nat) 0%nat (classes p).
Definition full (p : problem) : bool := Nat.eqb (replicas p) 1 && Nat.eqb (total_slots p) (experts p).

(** * Membership *)

Definition mem (e : nat) (l : list nat) : bool := existsb (Nat.eqb e) l.

Lemma mem_spec e l : mem e l = true <-> In e l.
Proof.
  unfold mem. rewrite existsb_exists. split; [intros (y & H & E); apply Nat.eqb_eq in E; subst; assumption|].
  intros H; exists e; rewrite Nat.eqb_refl; auto.
Qed.

(** * Sums *)

Lemma sum_app f l l' : sum f (l ++ l') = sum f l + sum f l'.
Proof. induction l as [|e l IH]; simpl; lia. Qed.

Lemma sum_ext f g l : (forall e, In e l -> f e = g e) -> sum f l = sum g l.
Proof. induction l as [|e l IH]; simpl; intros H; [|rewrite H, IH]; auto. Qed.

Lemma sum_le f g l : (forall e, In e l -> f e <= g e) -> sum f l <= sum g l.
Proof.
  induction l as [|e l IH]; simpl; intros H; [lia|].
  specialize (IH (fun x Hx => H x (or_intror Hx))); specialize (H e (or_introl eq_refl)); lia.
Qed.

Lemma sum_plus f g l : sum (fun e => f e + g e) l = sum f l + sum g l.
Proof. induction l as [|e l IH]; simpl; lia. Qed.

Lemma sum_scale k f l : sum (fun e => k * f e) l = k * sum f l.
Proof. induction l as [|e l IH]; simpl; lia. Qed.

Lemma sum_const k l : sum (fun _ => k) l = k * Z.of_nat (length l).
Proof. induction l as [|e l IH]; simpl length; simpl sum; [|rewrite IH, Nat2Z.inj_succ]; ring. Qed.

Lemma sum_nonneg f l : (forall e, In e l -> 0 <= f e) -> 0 <= sum f l.
Proof. intros H; rewrite <- (Z.mul_0_l (Z.of_nat (length l))), <- sum_const; apply sum_le, H. Qed.

Lemma sum_permutation f l l' : Permutation l l' -> sum f l = sum f l'.
Proof. induction 1; simpl; lia. Qed.

Lemma sum_one f (l : list nat) (x : nat) :
  NoDup l -> In x l -> sum (fun e => if Nat.eq_dec x e then f e else 0) l = f x.
Proof.
  induction l as [|e l IH]; simpl; [easy|]. intros HD HI; inversion HD as [|? ? He HD']; subst.
  destruct (Nat.eq_dec x e) as [->|Hn].
  - rewrite (sum_ext _ (fun _ => 0)), sum_const; [lia|].
    intros y Hy; destruct (Nat.eq_dec e y); [subst; contradiction|reflexivity].
  - destruct HI as [->|HI]; [contradiction|]. rewrite IH by assumption; lia.
Qed.

(** A sum over replicas is a sum over experts, each times its number of replicas. *)
Lemma sum_count f n l :
  (forall e, In e l -> (e < n)%nat) -> sum f l = sum (fun e => Z.of_nat (count_occ Nat.eq_dec l e) * f e) (seq 0 n).
Proof.
  induction l as [|x l IH]; intros H.
  - transitivity (sum (fun _ => 0) (seq 0 n)); [rewrite sum_const|apply sum_ext]; reflexivity.
  - simpl sum. rewrite IH by (intros; apply H; right; assumption).
    rewrite <- (sum_one f (seq 0 n) x) by (try apply seq_NoDup; apply in_seq; specialize (H x (or_introl eq_refl)); lia).
    rewrite <- sum_plus. apply sum_ext; intros e _. simpl.
    destruct (Nat.eq_dec x e); lia.
Qed.

(** * Exactly or at most [slots] *)

Lemma concat_length_le {A} (s : nat) (held : list (list A)) :
  Forall (fun S => (length S <= s)%nat) held ->
  (length (concat held) <= length held * s)%nat
  /\ (length (concat held) = length held * s -> Forall (fun S => length S = s) held)%nat.
Proof.
  induction 1 as [|S held HS _ [IH1 IH2]]; simpl; [auto|]. rewrite app_length.
  split; [lia|]. intros E. constructor; [|apply IH2]; lia.
Qed.

Lemma held_bounds p pl : valid p pl -> forall e, In e (concat (concat pl)) -> (e < experts p)%nat.
Proof.
  intros [HV _] e. induction HV as [|c held cs pls [_ HF] _ IH]; simpl; [easy|].
  rewrite concat_app, in_app_iff. intros [HI|HI]; [|auto].
  apply in_concat in HI as (S & HS & HI). rewrite Forall_forall in HF. apply (HF S HS); assumption.
Qed.

Lemma replica_count p pl : valid p pl ->
  Z.of_nat (length (concat (concat pl))) = sum (fun e => Z.of_nat (copies pl e)) (seq 0 (experts p)).
Proof.
  intros HV. pose proof (sum_const 1 (concat (concat pl))) as H. rewrite Z.mul_1_l in H. rewrite <- H.
  rewrite (sum_count _ (experts p)) by (apply held_bounds; assumption).
  apply sum_ext; intros; unfold copies; lia.
Qed.

(** As many slots as experts of one replica each: nothing is left empty. *)
Theorem full_exact p pl : full p = true -> valid p pl ->
  Forall2 (fun c held => Forall (fun S => length S = slots c) held) (classes p) pl.
Proof.
  intros HF HV. apply andb_true_iff in HF as [HR HS]. apply Nat.eqb_eq in HR, HS.
  pose proof (replica_count p pl HV) as HC.
  rewrite (sum_ext _ (fun _ => 1)), sum_const, seq_length in HC.
  2: { intros e He. apply in_seq in He. destruct HV as [_ HV]. specialize (HV e ltac:(lia)). lia. }
  assert (G : forall cs pls,
    Forall2 (fun c held => length held = ranks c /\ Forall (fits p c) held) cs pls ->
    let total := fold_right (fun c s => (ranks c * slots c + s)%nat) 0%nat cs in
    (length (concat (concat pls)) <= total)%nat
    /\ (length (concat (concat pls)) = total -> Forall2 (fun c held => Forall (fun S => length S = slots c) held) cs pls)).
  { induction 1 as [|c held cs pls [HL HH] _ [IH1 IH2]]; cbn zeta in *; simpl; [auto|].
    rewrite concat_app, app_length.
    destruct (concat_length_le (slots c) held) as [L1 L2].
    { eapply Forall_impl; [|exact HH]. intros S HS'; apply HS'. }
    rewrite HL in L1, L2. split; [lia|]. intros E. constructor; [apply L2|apply IH2]; lia. }
  apply G; [apply HV|]. unfold total_slots in HS. lia.
Qed.

(** * From rationals to integers *)

(** Rounding every replica down and scaling by [a / q] keeps what a rank carries below the scaled limit. *)
Lemma scaled_within p pl S a q T s : 1 <= q -> 0 <= a ->
  (forall e, In e S -> (1 <= copies pl e)%nat) ->
  (carried p pl S <= inject_Z (T * s))%Q ->
  sum (fun e => a * load p e / (q * Z.of_nat (copies pl e))) S <= a * T * s / q.
Proof.
  intros Hq Ha HC HW. apply Z.div_le_lower_bound; [lia|].
  set (floor := fun e => a * load p e / (q * Z.of_nat (copies pl e))).
  assert (H : (inject_Z (q * sum floor S) <= carried p pl S * inject_Z a)%Q).
  { clear HW. induction S as [|e S IH]; simpl.
    - rewrite Z.mul_0_r, Qmult_0_l. apply Qle_refl.
    - rewrite Z.mul_add_distr_l, inject_Z_plus, Qmult_plus_distr_l.
      apply Qplus_le_compat; [|apply IH; intros; apply HC; right; assumption].
      specialize (HC e (or_introl eq_refl)).
      assert (E : Z.pos (Pos.of_nat (copies pl e)) = Z.of_nat (copies pl e)) by lia.
      unfold Qle, inject_Z, Qmult, floor; cbn [Qnum Qden]. rewrite Pos.mul_1_r, E, Z.mul_1_r.
      pose proof (Z.mul_div_le (a * load p e) (q * Z.of_nat (copies pl e)) ltac:(nia)). lia. }
  assert (H2 : (carried p pl S * inject_Z a <= inject_Z (T * s) * inject_Z a)%Q).
  { apply Qmult_le_compat_r; [assumption|]. rewrite <- (Zle_Qle 0). assumption. }
  pose proof (Qle_trans _ _ _ H H2) as H3. rewrite <- inject_Z_mult, <- Zle_Qle in H3. lia.
Qed.

(** * Thresholds *)

Lemma within_more p T T' pl : T <= T' -> Forall (fun c => 0 <= speed c) (classes p) -> within p T pl -> within p T' pl.
Proof.
  unfold within. generalize (carried p pl) as q. intros q HT HS HW.
  induction HW as [|c held cs pls HW _ IH]; constructor; inversion HS as [|? ? Hc HS']; subst; auto.
  eapply Forall_impl; [|exact HW]. intros S H. eapply Qle_trans; [exact H|]. rewrite <- Zle_Qle. nia.
Qed.


Theorem refuted_overloaded p T : refuted p T -> forall pl, valid p pl -> overloaded p T pl.
Proof.
  intros HR pl HV. specialize (HR pl HV). destruct HV as [HV _].
  assert (G : forall cs pls, Forall2 (fun c held => length held = ranks c /\ Forall (fits p c) held) cs pls ->
    ~ Forall2 (fun c held => Forall (fun S => (carried p pl S <= inject_Z (T * speed c))%Q) held) cs pls ->
    exists g c held S, nth_error cs g = Some c /\ nth_error pls g = Some held /\ In S held
      /\ (inject_Z (T * speed c) < carried p pl S)%Q).
  { clear HR HV. induction 1 as [|c held cs pls _ _ IH]; intros HR; [exfalso; apply HR; constructor|].
    destruct (Exists_dec (fun S => (inject_Z (T * speed c) < carried p pl S)%Q) held) as [HE|HE].
    { intros S. destruct (Qlt_le_dec (inject_Z (T * speed c)) (carried p pl S)) as [|HQ]; [left; assumption|].
      right. apply Qle_not_lt, HQ. }
    - apply Exists_exists in HE as (S & HS & HQ). exists 0%nat, c, held, S. auto.
    - destruct IH as (g & c' & held' & S & H).
      { intros HW. apply HR. constructor; [|exact HW]. apply Forall_forall. intros S HS. apply Qnot_lt_le.
        intros HQ. apply HE, Exists_exists. exists S. auto. }
      exists (Datatypes.S g), c', held', S. exact H. }
  apply G; assumption.
Qed.
