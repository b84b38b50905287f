(** The whole grammar of arguments: prices, splits, branch trees, closed forms. *)

From Coq Require Import List Arith ZArith Lia Bool.
From Shardproof Require Import Placement Prices Split Tree Branch ClosedForms.
Import ListNotations.
Open Scope Z_scope.

Inductive argument :=
| ByPrices (x : prices)
| BySplit (i j : nat) (same other : argument)
| ByBranch (nodes : list node).

(** A limit on the work of checking, not a matter of soundness. *)
Definition most_separations : nat := 12.

Fixpoint check_under (p : problem) (T : Z) (d : decided) (a : argument) : bool :=
  match a with
  | ByPrices x => check_prices p T d x
  | BySplit i j same other =>
      Nat.eqb (replicas p) 1 && (i <? experts p)%nat && (j <? experts p)%nat
      && negb (known d i j) && (length (apart d) <? most_separations)%nat
      && check_under p T (together d i j) same && check_under p T (separate d i j) other
  | ByBranch nodes => check_branch p T nodes
  end.

Definition check_argument (p : problem) (T : Z) (a : argument) : bool := check_under p T (undecided p) a.

Lemma check_under_sound p T a : forall d, check_under p T d a = true -> covers p d ->
  forall pl, valid p pl -> respects d pl -> ~ within p T pl.
Proof.
  induction a as [x|i j same IH1 other IH2|nodes]; simpl; intros d HK HC pl HV HD.
  - apply (check_prices_sound p T d x HK HC pl HV HD).
  - rewrite !andb_true_iff in HK. destruct HK as [[[[[[HR Hi] Hj] _] _] H1] H2].
    apply Nat.eqb_eq in HR. apply Nat.ltb_lt in Hi, Hj.
    destruct (split_cases p d i j pl HR Hi Hj HV HD) as [H|H]; [eapply IH1|eapply IH2]; try eassumption.
    apply together_covers, HC.
  - apply (branch_sound p T nodes HK pl HV).
Qed.

(** An accepted argument refutes its threshold. *)
Theorem argument_sound p T a : check_argument p T a = true -> refuted p T.
Proof.
  intros HK pl HV. eapply check_under_sound; [exact HK|apply undecided_covers|exact HV|apply undecided_respects].
Qed.

(** The same in other words: every placement has a rank that carries more than [T] times its speed. *)
Corollary argument_overloads p T a : check_argument p T a = true -> forall pl, valid p pl -> overloaded p T pl.
Proof. intros HK. apply refuted_overloaded, (argument_sound p T a HK). Qed.

(** What proves a bound: an argument, or a closed form where there is none. *)
Definition check_bound (p : problem) (bound : Z) (a : option argument) : bool :=
  match a with Some a => check_argument p (bound - 1) a | None => closed_form_exceeds p (bound - 1) end.

(** A proved bound is at most every threshold that a placement keeps. *)
Theorem bound_sound p bound a : check_bound p bound a = true -> forall pl T, valid p pl -> within p T pl ->
  Forall (fun c => 0 <= speed c) (classes p) -> bound <= T.
Proof.
  intros HK pl T HV HW HS. destruct (Z_lt_le_dec T bound) as [H|H]; [exfalso|exact H].
  assert (HR : refuted p (bound - 1)).
  { destruct a as [a|]; simpl in HK; [apply (argument_sound p _ a HK)|apply closed_form_sound, HK]. }
  apply (HR pl HV), (within_more p T); [lia|exact HS|exact HW].
Qed.
