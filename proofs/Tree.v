(** A branch tree whose leaves contradict a system of integer rows: no 0-1 point satisfies the rows. *)

From Coq Require Import List ZArith NArith FMapPositive Lia Bool.
Import ListNotations.
Open Scope Z_scope.

(** (variable, coefficient), by increasing variable. No proof needs the order. *)
Notation terms := (list (N * Z)).

(** sum of terms <= right, or = where [equality]. *)
Record row := Row { left : terms; right : Z; equality : bool }.

(** A decision on a variable: 0-side first, then 1-side. Or a leaf: (row, multiplier) pairs. *)
Inductive node := Decide (v : N) | Contradict (multipliers : list (N * Z)).

(** Values of the variables. *)
Notation point := (N -> Z).

Definition eval (t : terms) (x : point) : Z := fold_right (fun a s => snd a * x (fst a) + s) 0 t.

Definition satisfies (x : point) (r : row) : Prop :=
  if equality r then eval (left r) x = right r else eval (left r) x <= right r.

Definition binary (x : point) : Prop := forall v, x v = 0 \/ x v = 1.

(** * The checker *)

Fixpoint plus (l1 : terms) : terms -> terms :=
  fix with_second l2 :=
    match l1, l2 with
    | [], _ => l2
    | _, [] => l1
    | (v, a) :: t1, (u, b) :: t2 =>
        match N.compare v u with
        | Lt => (v, a) :: plus t1 l2
        | Gt => (u, b) :: with_second t2
        | Eq => (v, a + b) :: plus t1 t2
        end
    end.

Definition scale (m : Z) (t : terms) : terms := map (fun a => (fst a, m * snd a)) t.

Definition nth_row (rows : list row) (i : N) : option row :=
  if (i <? N.of_nat (length rows))%N then nth_error rows (N.to_nat i) else None.

(** The rows, each times its multiplier; None where a row is missing or an inequality has a negative multiplier. *)
Fixpoint combine (rows : list row) (l : list (N * Z)) : option (terms * Z) :=
  match l with
  | [] => Some ([], 0)
  | (i, m) :: l =>
      match nth_row rows i, combine rows l with
      | Some r, Some (t, b) =>
          if (0 <=? m) || equality r then Some (plus (scale m (left r)) t, m * right r + b) else None
      | _, _ => None
      end
  end.

(** Values of the variables that are fixed; the others are 0 or 1. *)
Definition box := PositiveMap.t Z.

Definition fixed (b : box) (v : N) : option Z := PositiveMap.find (N.succ_pos v) b.
Definition fix_at (b : box) (v : N) (a : Z) : box := PositiveMap.add (N.succ_pos v) a b.

(** The least of a sum over a box. *)
Definition minimum (b : box) (t : terms) : Z :=
  fold_right (fun a s => match fixed b (fst a) with Some c => snd a * c | None => Z.min (snd a) 0 end + s) 0 t.

(** The side of a box where [v] is [a]; None where it is empty. *)
Definition side (b : option box) (v : N) (a : Z) : option box :=
  match b with
  | None => None
  | Some b => match fixed b v with
              | None => Some (fix_at b v a)
              | Some c => if a =? c then Some b else None
              end
  end.

Definition check_leaf (rows : list row) (b : option box) (l : list (N * Z)) : bool :=
  match combine rows l, b with
  | None, _ => false
  | Some _, None => true
  | Some (t, r), Some b => r <? minimum b t
  end.

(** Preorder: [open] holds the boxes whose subtrees are still to come. *)
Fixpoint walk (variables : N) (rows : list row) (nodes : list node) (open : list (option box)) : bool :=
  match nodes, open with
  | [], [] => true
  | Contradict l :: nodes, b :: open => check_leaf rows b l && walk variables rows nodes open
  | Decide v :: nodes, b :: open =>
      (v <? variables)%N && walk variables rows nodes (side b v 0 :: side b v 1 :: open)
  | _, _ => false
  end.

(** A box with these variables at 0. *)
Definition zero_box (zeros : list N) : box := fold_right (fun v b => fix_at b v 0) (PositiveMap.empty Z) zeros.

Definition check_tree (variables : N) (rows : list row) (zeros : list N) (nodes : list node) : bool :=
  walk variables rows nodes [Some (zero_box zeros)].

(** * Soundness *)

Lemma eval_plus l1 : forall l2 x, eval (plus l1 l2) x = eval l1 x + eval l2 x.
Proof.
  induction l1 as [|[v a] t1 IH1]; intros l2 x; [destruct l2; reflexivity|].
  induction l2 as [|[u b] t2 IH2]; [simpl; lia|]. simpl. destruct (N.compare v u) eqn:E.
  - apply N.compare_eq in E. subst u. simpl. rewrite IH1. lia.
  - simpl. rewrite IH1. simpl. lia.
  - simpl in *. rewrite IH2. lia.
Qed.

Lemma eval_scale m t x : eval (scale m t) x = m * eval t x.
Proof. induction t as [|[v a] t IH]; simpl in *; lia. Qed.

Lemma combine_sound rows x : Forall (satisfies x) rows ->
  forall l t b, combine rows l = Some (t, b) -> eval t x <= b.
Proof.
  intros HS. induction l as [|[i m] l IH]; simpl; intros t b H; [inversion H; simpl; lia|].
  destruct (nth_row rows i) as [r|] eqn:E; [|discriminate]. destruct (combine rows l) as [[t' b']|]; [|discriminate].
  destruct ((0 <=? m) || equality r) eqn:E2; [|discriminate]. inversion H; subst.
  rewrite eval_plus, eval_scale. specialize (IH t' b' eq_refl).
  assert (HR : In r rows).
  { unfold nth_row in E. destruct (i <? N.of_nat (length rows))%N; [|discriminate]. apply nth_error_In in E. exact E. }
  rewrite Forall_forall in HS. specialize (HS r HR). unfold satisfies in HS.
  destruct (equality r); [nia|]. rewrite orb_false_r in E2. apply Z.leb_le in E2. nia.
Qed.

Definition in_box (x : point) (b : box) : Prop := forall v a, fixed b v = Some a -> x v = a.

Definition in_side (x : point) (b : option box) : Prop := match b with None => False | Some b => in_box x b end.

Lemma minimum_sound x b t : binary x -> in_box x b -> minimum b t <= eval t x.
Proof.
  intros HX HB. induction t as [|[v a] t IH]; simpl; [lia|].
  destruct (fixed b v) as [c|] eqn:E; [rewrite (HB v c E); lia|]. destruct (HX v) as [-> | ->]; lia.
Qed.

Lemma fix_at_sound x b v a : in_box x b -> x v = a -> in_box x (fix_at b v a).
Proof.
  intros HB Hv u c. unfold fixed, fix_at. destruct (N.eq_dec v u) as [->|Hn].
  - rewrite PositiveMap.gss. intros H; inversion H; subst. reflexivity.
  - rewrite PositiveMap.gso; [apply HB|]. intros E. apply Hn.
    apply (f_equal Pos.pred_N) in E. rewrite !N.pos_pred_succ in E. auto.
Qed.

Lemma side_sound x b v : in_side x b -> in_side x (side b v (x v)).
Proof.
  destruct b as [b|]; simpl; [|auto]. intros HB. destruct (fixed b v) as [c|] eqn:E; simpl; [|apply fix_at_sound; auto].
  rewrite (HB v c E), Z.eqb_refl. exact HB.
Qed.

Lemma zero_box_sound x zeros : (forall v, In v zeros -> x v = 0) -> in_box x (zero_box zeros).
Proof.
  induction zeros as [|v zeros IH]; simpl; intros H.
  - intros u c. unfold fixed. rewrite PositiveMap.gempty. discriminate.
  - apply fix_at_sound; auto.
Qed.

Lemma walk_sound variables rows x : binary x -> Forall (satisfies x) rows ->
  forall nodes open, walk variables rows nodes open = true -> Forall (fun b => ~ in_side x b) open.
Proof.
  intros HX HS. induction nodes as [|[v|l] nodes IH]; intros [|b open] HW; try discriminate HW; [constructor| |].
  - simpl in HW. apply andb_true_iff in HW as [_ HW]. specialize (IH _ HW).
    inversion IH as [|? ? H0 IH']; subst. inversion IH' as [|? ? H1 IH2]; subst. constructor; [|exact IH2].
    intros HB. apply (side_sound x b v) in HB. destruct (HX v) as [E|E]; rewrite E in HB; auto.
  - simpl in HW. apply andb_true_iff in HW as [HL HW]. constructor; [|apply IH, HW].
    intros HB. unfold check_leaf in HL. destruct (combine rows l) as [[t r]|] eqn:E; [|discriminate].
    destruct b as [b|]; [|exact HB]. apply Z.ltb_lt in HL.
    pose proof (combine_sound rows x HS l t r E). pose proof (minimum_sound x b t HX HB). lia.
Qed.

(** No 0-1 point that is 0 on [zeros] satisfies all rows. *)
Theorem tree_sound variables rows zeros nodes : check_tree variables rows zeros nodes = true ->
  forall x, binary x -> (forall v, In v zeros -> x v = 0) -> ~ Forall (satisfies x) rows.
Proof.
  intros HT x HX HZ HS. pose proof (walk_sound variables rows x HX HS nodes _ HT) as H.
  inversion H as [|? ? HB _]; subst. apply HB, zero_box_sound, HZ.
Qed.
