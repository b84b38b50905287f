(** The other side of a bound: a placement that keeps a threshold, checked slot by slot. *)

From Coq Require Import List Arith ZArith QArith Lia Bool.
From Shardproof Require Import Placement.
Import ListNotations.
Open Scope Z_scope.

(** Some placement of [p] has no rank above [T]; so for the weight of its heaviest rank. *)
Definition attained (p : problem) (T : Z) : Prop := exists pl, valid p pl /\ within p T pl.

Fixpoint distinct (l : list nat) : bool := match l with [] => true | e :: l => negb (mem e l) && distinct l end.

Definition fits_b (p : problem) (c : rank_class) (S : contents) : bool :=
  distinct S && forallb (fun e => (e <? experts p)%nat) S && (length S <=? slots c)%nat
  && match memory c with None => true | Some room => sum (size p) S <=? room end.

Definition keeps_b (p : problem) (T : Z) (pl : placement) (c : rank_class) (held : list contents) : bool :=
  Nat.eqb (length held) (ranks c)
  && forallb (fun S => fits_b p c S && Qle_bool (carried p pl S) (inject_Z (T * speed c))) held.

Fixpoint all_keep (p : problem) (T : Z) (pl : placement) (cs : list rank_class) (rest : placement) : bool :=
  match cs, rest with
  | [], [] => true
  | c :: cs, held :: rest => keeps_b p T pl c held && all_keep p T pl cs rest
  | _, _ => false
  end.

(** The ranks of each class, from the list of all ranks. *)
Fixpoint by_class (cs : list rank_class) (rs : list contents) : placement :=
  match cs with
  | [] => match rs with [] => [] | _ => [rs] end
  | c :: cs => firstn (ranks c) rs :: by_class cs (skipn (ranks c) rs)
  end.

(** The contents of all ranks, in the order of the classes, are a placement that keeps [T]. *)
Definition check_kept (p : problem) (T : Z) (rs : list contents) : bool :=
  let pl := by_class (classes p) rs in
  all_keep p T pl (classes p) pl
  && forallb (fun e => (1 <=? copies pl e)%nat && (copies pl e <=? replicas p)%nat) (seq 0 (experts p)).

Lemma distinct_spec l : distinct l = true -> NoDup l.
Proof.
  induction l as [|e l IH]; simpl; [constructor|]. rewrite andb_true_iff, negb_true_iff. intros [H HD].
  constructor; [|auto]. rewrite <- mem_spec, H. discriminate.
Qed.

Lemma fits_b_spec p c S : fits_b p c S = true -> fits p c S.
Proof.
  unfold fits_b. rewrite !andb_true_iff, forallb_forall. intros [[[HD HE] HL] HM].
  split; [apply distinct_spec, HD|]. split; [intros e He; apply Nat.ltb_lt, HE, He|].
  split; [apply Nat.leb_le, HL|]. destruct (memory c); [apply Z.leb_le, HM|exact I].
Qed.

Lemma all_keep_spec p T pl cs : forall rest, all_keep p T pl cs rest = true ->
  Forall2 (fun c held => length held = ranks c /\ Forall (fits p c) held) cs rest
  /\ Forall2 (fun c held => Forall (fun S => (carried p pl S <= inject_Z (T * speed c))%Q) held) cs rest.
Proof.
  induction cs as [|c cs IH]; intros [|held rest]; simpl; try discriminate; [auto|].
  rewrite andb_true_iff. intros [HK HR]. destruct (IH rest HR) as [H1 H2].
  unfold keeps_b in HK. rewrite andb_true_iff, forallb_forall in HK. destruct HK as [HL HS]. apply Nat.eqb_eq in HL.
  assert (HS' := fun S HI => proj1 (andb_true_iff _ _) (HS S HI)).
  split; constructor; try assumption; [split; [exact HL|]|]; apply Forall_forall; intros S HI.
  - apply fits_b_spec, HS', HI.
  - apply Qle_bool_iff, HS', HI.
Qed.

Theorem kept_sound p T rs : check_kept p T rs = true -> attained p T.
Proof.
  unfold check_kept. rewrite andb_true_iff, forallb_forall. intros [HK HR].
  exists (by_class (classes p) rs). destruct (all_keep_spec p T _ _ _ HK) as [H1 H2]. split; [split; [exact H1|]|exact H2].
  intros e He. specialize (HR e ltac:(apply in_seq; lia)). rewrite andb_true_iff, !Nat.leb_le in HR. exact HR.
Qed.
